"""Requests over a limit, through a real worker: rejected, or kept waiting and bought when there is room."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.keys import Keys
from tasks.ledger.ledger import Ledger
from tasks.ledger.usage_entries import UsageEntry
from tasks.runtime.clock import ServerClock
from tasks.runtime.redis_client import open_redis
from tests.support import command_line
from tests.support.processes import Process, Simulator, environment, eventually

POLICY = """
[limits]
nodes_per_request = 50
[limits.clusters."ehpc-hour"]
nodes_per_hour = 10
wait = true
[limits.clusters."ehpc-full"]
nodes_per_cluster = 10
[limits.clusters."ehpc-wait"]
nodes_per_cluster = 10
wait = true
[allow]
zones = ["jn1*"]
"""


@pytest.fixture
def env(redis_url: str, provider: Simulator, tmp_path: Path) -> dict[str, str]:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY, encoding="utf-8")
    return environment(redis_url, provider.api_url, POLICY_FILE=policy)


def send(producer: Celery, request_id: str, nodes: int, cluster_id: str = "ehpc-a", **more: Any) -> Any:
    fields = {"request_id": request_id, "cluster_id": cluster_id, "zone": "jn1a", "node_count": nodes, **more}
    return producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")


def scaleout(env: Mapping[str, str], *arguments: str) -> tuple[int, Any]:
    done = command_line.scaleout(env, *arguments, "--json")
    return done.code, done.json()


def test_a_request_over_a_limit_is_rejected_and_nothing_is_sent(
    producer: Celery, running: Process, provider: Simulator, server: redis.Redis
) -> None:
    outcome = send(producer, "large", 51).get(timeout=30)

    assert outcome["status"] == "rejected"
    assert outcome["error"] == {
        "code": None,
        "kind": "limit",
        "message": "limits.nodes_per_request = 50: the request is for 51 nodes",
    }
    assert send(producer, "far", 1, zone="gd2a").get(timeout=30)["error"]["kind"] == "limit"
    assert json.loads(server.get("scaleout:outcome:large") or "") == outcome
    assert provider.get("truth")["add_nodes_calls"] == []
    assert [line["rule"] for line in running.events("request_rejected")] == [
        "limits.nodes_per_request",
        "allow.zones",
    ]


def test_nodes_over_a_clusters_limit_are_rejected_after_counting(
    producer: Celery, running: Process, provider: Simulator
) -> None:
    results = [send(producer, f"r-{number}", 3, "ehpc-full") for number in range(6)]

    outcomes = [result.get(timeout=60) for result in results]

    assert sorted(outcome["status"] for outcome in outcomes) == ["rejected"] * 3 + ["succeeded"] * 3
    assert provider.nodes("ehpc-full") == 9
    refused = next(outcome for outcome in outcomes if outcome["status"] == "rejected")
    assert refused["error"]["message"].startswith('limits.clusters."ehpc-full".nodes_per_cluster = 10: ')


def test_a_request_waiting_for_room_on_its_cluster_shows_the_limit(
    producer: Celery, running: Process, provider: Simulator, env: dict[str, str]
) -> None:
    assert send(producer, "first", 8, "ehpc-wait").get(timeout=30)["status"] == "succeeded"
    result = send(producer, "second", 8, "ehpc-wait")
    eventually(lambda: bool(running.events("request_over_limit")), "the second has to wait")

    _, status = scaleout(env, "status", "second")
    assert status["state"] == "waiting"
    assert (status["reason"]["kind"], status["reason"]["until"] is None) == ("limit", False)
    assert (
        'limits.clusters."ehpc-wait".nodes_per_cluster = 10: '
        "8 nodes are there or on their way, 8 more would be 16" in status["reason"]["message"]
    )
    code, expected = scaleout(
        env, "submit", "--cluster", "ehpc-wait", "--zone", "jn1a", "--nodes", "3", "--dry-run"
    )
    assert (code, expected["status"], expected["nodes_present"]) == (0, "waiting", 8)
    assert provider.nodes("ehpc-wait") == 8
    assert not result.ready()

    code, outcome = scaleout(env, "cancel", "second")
    assert outcome["outcome"]["status"] == "cancelled"
    assert result.get(timeout=30)["status"] == "cancelled"


async def bought_an_hour_ago(redis_url: str, nodes: int, but_s: float) -> None:
    """What was bought on ehpc-hour will have been so for an hour in `but_s`."""
    ledger = Ledger(
        open_redis(redis_url), Keys("scaleout"), ServerClock(), outcome_ttl_s=604_800, stream_maxlen=1_000
    )
    await ledger.learn_time()
    at = ledger.clock.now_ms() - 3_600_000 + round(but_s * 1_000)
    entry = UsageEntry("cluster:ehpc-hour", 3_600, "op-before", nodes, at, enters=True)
    assert await ledger.commit(ChangeSet(entries=[entry])) is CommitResult.OK
    await ledger.redis.aclose()


def test_a_request_over_the_hourly_limit_is_bought_an_hour_later(
    producer: Celery, running: Process, provider: Simulator, redis_url: str, env: dict[str, str]
) -> None:
    asyncio.run(bought_an_hour_ago(redis_url, 8, but_s=6))

    result = send(producer, "later", 8, "ehpc-hour")

    eventually(lambda: bool(running.events("request_over_limit")), "it has to wait")
    _, status = scaleout(env, "status", "later")
    assert (
        'limits.clusters."ehpc-hour".nodes_per_hour = 10: 8 nodes were bought' in status["reason"]["message"]
    )
    assert provider.nodes("ehpc-hour") == 0
    assert result.get(timeout=30)["status"] == "succeeded"
    assert provider.nodes("ehpc-hour") == 8


def test_a_dry_run_resolves_at_once_and_leaves_nothing(
    producer: Celery, running: Process, provider: Simulator, server: redis.Redis, env: dict[str, str]
) -> None:
    answer = send(producer, "perhaps", 30, dry_run=True).get(timeout=30)

    assert (answer["dry_run"], answer["status"], answer["operations"]) == (True, "accepted", [30])
    assert server.keys("scaleout:request:*") == server.keys("scaleout:outcome*") == []
    assert provider.get("truth")["add_nodes_calls"] == []

    spec = ("submit", "--cluster", "ehpc-a", "--zone", "jn1a", "--request-id", "perhaps")
    code, answer = scaleout(env, *spec, "--nodes", "51", "--dry-run")
    assert (code, answer["status"], answer["error"]["kind"]) == (1, "rejected", "limit")
    assert server.keys("scaleout:request:*") == []
