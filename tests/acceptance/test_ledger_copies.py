"""A copy is taken under load, the server is lost, and another one is filled from the copy."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.integration.test_command_line import scaleout
from tests.support.durable_server import durable_server
from tests.support.processes import environment, eventually, simulator, worker

pytestmark = pytest.mark.timeout(180)
REQUESTS = 6


def send(url: str, numbers: range) -> None:
    with Celery(broker=url, backend=url) as producer:
        for number in numbers:
            fields = {
                "request_id": f"r-{number}",
                "zone": "jn1a",
                "cluster_id": f"ehpc-{number % 4}",
                "node_count": 2,
            }
            producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")


@pytest.mark.slow
def test_a_server_filled_from_a_copy_goes_on_and_buys_nothing_twice(tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    with (
        simulator(tmp_path / "simulator.log", signature_ttl_s=3, job_duration_s="2-4") as provider,
        durable_server(tmp_path / "lost") as lost,
        durable_server(tmp_path / "new") as new,
    ):
        settings = {"SIGNATURE_TTL_S": 3, "HTTP_TIMEOUT_S": 2}
        env = environment(lost.url, provider.api_url, **settings)
        with worker(env, tmp_path / "one.log") as first:
            send(lost.url, range(REQUESTS))
            eventually(lambda: len(first.events("operation_submitted")) >= 2, "jobs run")
            taken = scaleout(env, "ledger", "export", str(copy), "--json")
            assert taken.code == 0, taken.err
            first.kill()
        lost.kill()
        there = environment(new.url, provider.api_url, **settings)
        filled = scaleout(there, "ledger", "import", str(copy), "--yes", "--json")
        assert filled.code == 0, filled.err
        again = scaleout(there, "ledger", "import", str(copy), "--yes")
        assert (again.code, "already" in again.err) == (2, True)
        bought = provider.nodes()
        with worker(there, tmp_path / "two.log") as second:
            send(new.url, range(REQUESTS, REQUESTS + 1))
            eventually(lambda: bool(second.events("request_accepted")), "it accepts")
            assert not second.events("operation_submitted")
            assert scaleout(there, "doctor").code == 1
            done = scaleout(
                there, "doctor", "--acknowledge-data-loss", "--yes", "--by", "ann", "--reason", "compared"
            )
            assert "acknowledged" in done.err
            with new.client() as client:
                known = [str(key).rpartition(":")[2] for key in client.scan_iter("scaleout:request:*")]
                wanted = [f"scaleout:outcome:{name}" for name in known]

                def over() -> bool:
                    # It is marked a second time if the provider's log shows a job that the copy did not know.
                    return all(client.mget(wanted)) or len(second.events("ledger_data_loss")) > 1

                eventually(over, "all end")
                outcomes = [json.loads(str(text)) for text in client.mget(wanted) if text]
            marked = scaleout(there, "doctor", "--json").json()
        nodes = provider.nodes()

    lost_again = [one for one in marked if one["check"] == "data loss"]
    assert bought <= nodes <= 2 * (REQUESTS + 1)
    assert copy.stat().st_mode & 0o077 == 0
    # All that the copy knew has ended; or a job that it did not know has stopped the ledger, and is named.
    assert {one["status"] for one in outcomes} <= {"succeeded"}, outcomes
    assert len(outcomes) == len(known) or lost_again


HEAD = '{"format": 1, "exported_at": 1}'
NO_PAIRS = '{"key": "open", "type": "zset", "value": ["a"], "ttl_ms": 0}'
NO_FIELDS = '{"key": "epoch", "type": "hash", "value": [], "ttl_ms": 0}'
NO_TYPE = '{"key": "x", "type": "module", "value": "", "ttl_ms": 0}'


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "line 1"),
        (["{}"], "line 1"),
        (['{"format": 2, "exported_at": 1}'], "line 1"),
        ([HEAD], "nothing to import"),
        ([HEAD, "no json"], "line 2"),
        ([HEAD, NO_PAIRS], "zset"),
        ([HEAD, NO_FIELDS], "hash"),
        ([HEAD, NO_TYPE], "line 2"),
    ],
)
def test_what_is_no_copy_is_refused_and_nothing_is_written(
    redis_url: str, server: redis.Redis, tmp_path: Path, lines: list[str], problem: str
) -> None:
    path = tmp_path / "copy.jsonl"
    path.write_text("\n".join(lines))
    refused = scaleout(
        environment(redis_url, "http://127.0.0.1:1/api"), "ledger", "import", str(path), "--yes"
    )

    assert (refused.code, problem in refused.err) == (2, True), refused.err
    assert server.dbsize() == 0


def test_a_copy_has_every_type_of_key_and_survives_the_round_trip(
    redis_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    env = environment(redis_url, "http://127.0.0.1:1/api")
    place = ("--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "1")
    for name in ("r-1", "r-2"):
        assert scaleout(env, "submit", *place, "--request-id", name).code in (0, 3)
    assert scaleout(env, "cancel", "r-2").code == 0
    assert scaleout(env, "pause", "--for", "1h").code == 0
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    assert scaleout(env, "ledger", "export", str(one)).code == 0
    assert scaleout(env, "ledger", "export", str(one)).code == 2
    before = rows(one)
    server.flushall()
    assert scaleout(env, "ledger", "import", str(one), "--yes").code == 0
    assert scaleout(env, "status", "r-1", "--json").json()["state"] == "waiting"
    assert scaleout(env, "ledger", "export", str(two)).code == 0
    after = rows(two)

    changed = {"epoch", "steps", "counters", "journal"}
    assert {row["type"] for row in before.values()} == {"string", "hash", "list", "set", "zset", "stream"}
    assert {key: row["value"] for key, row in before.items() if key not in changed} == {
        key: row["value"] for key, row in after.items() if key not in changed
    }
    assert all(abs(before[key]["ttl_ms"] - after[key]["ttl_ms"]) < 90_000 for key in before.keys() - changed)


def rows(path: Path) -> dict[str, Any]:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return {row["key"]: row for row in map(json.loads, lines)}
