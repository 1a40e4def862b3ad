"""Every way to lose the reply of addNodes, with and without a job made: reconciled, and bought once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support import command_line
from tests.support.processes import Simulator, environment, eventually, simulator, worker

WAYS: dict[str, dict[str, Any]] = {
    "hang": {"kind": "hang"},
    "closed": {"kind": "drop"},
    "reset": {"kind": "reset"},
    "cut off": {"kind": "cut_off"},
    "no job_id": {"kind": "no_job_id"},
    "5000": {"kind": "ret_code", "code": 5000, "message": "InternalError"},
    "5100": {"kind": "ret_code", "code": 5100, "message": "ServerBusy"},
    "502 page": {"kind": "html"},
    "empty": {"kind": "empty"},
    "not JSON": {"kind": "not_json"},
    "redirect": {"kind": "redirect"},
}


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Simulator]:
    with simulator(tmp_path / "simulator.log", signature_ttl_s=3) as started:
        yield started


@pytest.fixture
def env(redis_url: str, provider: Simulator) -> dict[str, str]:
    return environment(redis_url, provider.api_url, SIGNATURE_TTL_S=3, LOG_LAG_S=1, HTTP_TIMEOUT_S=2)


def send(producer: Celery, cluster_id: str, node_count: int, **more: Any) -> Any:
    fields = {"zone": "jn1a", "cluster_id": cluster_id, "node_count": node_count, **more}
    return producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")


def prove_that_the_log_shows_our_jobs(producer: Celery) -> None:
    """Silence of a log that has never shown a job of ours would prove nothing."""
    assert send(producer, "ehpc-before", 1).get(timeout=30)["status"] == "succeeded"


def test_every_lost_response_is_reconciled_and_nothing_is_bought_twice(
    env: dict[str, str], provider: Simulator, producer: Celery, tmp_path: Path
) -> None:
    with worker(env, tmp_path / "worker.log") as running:
        prove_that_the_log_shows_our_jobs(producer)
        cases = [(way, made) for way in WAYS for made in (True, False)]
        results = {}
        for number, (way, made) in enumerate(cases):
            cluster_id = f"ehpc-{number}"
            provider.post("faults", {**WAYS[way], "made": made, "cluster_id": cluster_id})
            results[way, made] = send(producer, cluster_id, 3)

        outcomes = {case: result.get(timeout=60) for case, result in results.items()}

        doubts = {line["cluster_id"] for line in running.events("operation_in_doubt")}
    assert {case: outcome["status"] for case, outcome in outcomes.items()} == dict.fromkeys(
        cases, "succeeded"
    )
    assert {case: outcome["refusals"] for case, outcome in outcomes.items()} == {
        (way, made): int(not made) for way, made in cases
    }
    truth = provider.get("truth")
    for number, case in enumerate(cases):
        assert len(truth["clusters"][f"ehpc-{number}"]["nodes"]) == 3, case
    assert doubts == {f"ehpc-{number}" for number in range(len(cases))}


def test_an_operation_of_a_worker_killed_while_sending_is_reconciled(
    env: dict[str, str], provider: Simulator, producer: Celery, tmp_path: Path
) -> None:
    env |= {"SCALEOUT_SUBMIT_LEASE_S": "3"}
    with worker(env, tmp_path / "first.log") as first:
        prove_that_the_log_shows_our_jobs(producer)
        provider.post("faults", {"kind": "hang", "made": True, "cluster_id": "ehpc-made"})
        provider.post("faults", {"kind": "hang", "made": False, "cluster_id": "ehpc-lost"})
        results = [send(producer, "ehpc-made", 2), send(producer, "ehpc-lost", 2)]
        eventually(lambda: len(provider.get("truth")["add_nodes_calls"]) == 3, "both are sent")
        first.kill()
    with worker(env, tmp_path / "second.log"):
        assert [result.get(timeout=60)["status"] for result in results] == ["succeeded", "succeeded"]
    assert provider.nodes("ehpc-made") == 2
    assert provider.nodes("ehpc-lost") == 2


def scaleout(env: dict[str, str], *arguments: str) -> Any:
    done = command_line.scaleout(env, *arguments, "--json")
    # 3: the status of a request that has not ended.
    assert done.code in (0, 3), done.err
    return done.json()


def test_two_candidates_are_held_until_an_operator_adopts_one(
    env: dict[str, str], provider: Simulator, producer: Celery, server: redis.Redis, tmp_path: Path
) -> None:
    with worker(env, tmp_path / "worker.log") as running:
        prove_that_the_log_shows_our_jobs(producer)
        provider.post("faults", {"kind": "drop", "made": True, "cluster_id": "ehpc-a"})
        result = send(producer, "ehpc-a", 2, request_id="mine")
        eventually(lambda: bool(running.events("operation_in_doubt")), "it is in doubt")
        own = provider.get("truth")["add_nodes_calls"][-1]["job_id"]
        strange = provider.post("foreign", {"cluster_id": "ehpc-a", "node_count": 2})["job_id"]

        eventually(lambda: bool(running.events("operation_held")), "it is held")

        status = scaleout(env, "status", "mine")
        assert status["state"] == "held"
        assert own in status["reason"]["message"]
        (evidence,) = scaleout(env, "resolve", "mine")
        assert {row["job_id"] for row in evidence["candidates"]} == {own, strange}
        assert evidence["sent"]["node_count"] == "2"
        scaleout(
            env, "resolve", "mine", "--adopt", own, "--reason", "the other is Li's", "--by", "Wang", "--yes"
        )
        outcome = result.get(timeout=30)
    assert (outcome["status"], outcome["nodes_added"]) == ("succeeded", 2)
    (decided,) = [line for line in scaleout(env, "history", "mine") if line["event"] == "operation_adopted"]
    assert (decided["by"], decided["reason"]) == ("Wang", "the other is Li's")


def test_a_log_without_any_job_of_ours_proves_nothing(
    env: dict[str, str], provider: Simulator, producer: Celery, tmp_path: Path
) -> None:
    with worker(env, tmp_path / "worker.log") as running:
        provider.post("faults", {"kind": "drop", "made": False, "cluster_id": "ehpc-a"})
        result = send(producer, "ehpc-a", 2, request_id="mine")
        eventually(lambda: bool(running.events("operation_held")), "it is held")
        assert "proves nothing" in scaleout(env, "status", "mine")["reason"]["message"]

        scaleout(env, "resolve", "mine", "--not-executed", "--yes")

        assert result.get(timeout=30)["status"] == "succeeded"
    assert provider.nodes() == 2
