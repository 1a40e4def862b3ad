"""What an operator decides is compared with the provider's log first, and can be corrected."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support import command_line
from tests.support.processes import Simulator, environment, eventually, simulator, worker


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Simulator]:
    with simulator(tmp_path / "simulator.log", signature_ttl_s=3, job_duration_s=2) as started:
        yield started


@pytest.fixture
def env(redis_url: str, provider: Simulator) -> dict[str, str]:
    return environment(redis_url, provider.api_url, SIGNATURE_TTL_S=3, LOG_LAG_S=1, HTTP_TIMEOUT_S=2)


def scaleout(env: dict[str, str], *arguments: str) -> tuple[int, Any]:
    done = command_line.scaleout(env, *arguments, "--json")
    return done.code, done.json()


def send(producer: Celery, request_id: str, cluster_id: str, node_count: int = 2) -> Any:
    fields = {"request_id": request_id, "zone": "jn1a", "cluster_id": cluster_id, "node_count": node_count}
    return producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")


def refused(env: dict[str, str], *decision: str) -> str:
    code, said = scaleout(env, "resolve", "mine", *decision, "--yes")
    assert code == 2
    return "; ".join(said["error"]["problems"])


@pytest.mark.timeout(180)
def test_a_decision_that_does_not_fit_is_refused_and_one_that_was_wrong_corrected(
    env: dict[str, str], provider: Simulator, producer: Celery, tmp_path: Path
) -> None:
    with worker(env, tmp_path / "worker.log") as running:
        theirs = send(producer, "theirs", "ehpc-b").get(timeout=30)["operations"][0]["job_id"]
        provider.post("faults", {"kind": "drop", "made": True, "cluster_id": "ehpc-a"})
        result = send(producer, "mine", "ehpc-a")
        eventually(lambda: bool(running.events("operation_in_doubt")), "it is in doubt")
        own = provider.get("truth")["add_nodes_calls"][-1]["job_id"]
        strange = provider.post("foreign", {"cluster_id": "ehpc-a", "node_count": 2})["job_id"]
        large = provider.post("foreign", {"cluster_id": "ehpc-c", "node_count": 98})["job_id"]
        eventually(lambda: bool(running.events("operation_held")), "it is held")

        assert "shows no job j-nothere" in refused(env, "--adopt", "j-nothere")
        assert "belongs to operation" in refused(env, "--adopt", theirs, "--force")
        assert "of cluster ehpc-c" in refused(env, "--adopt", large, "--force")
        assert f"job {own} can be its own" in refused(env, "--not-executed")
        code, status = scaleout(env, "status", "mine")
        assert (code, status["state"]) in ((0, "held"), (3, "held"))

        decided = scaleout(env, "resolve", "mine", "--adopt", "j-nothere", "--yes", "--force")
        assert decided[0] == 0
        code, evidence = scaleout(env, "resolve", status["operations"][0]["operation_id"])
        assert evidence[0]["job_id"] == "j-nothere"
        operation_id = evidence[0]["operation_id"]
        assert scaleout(env, "resolve", operation_id, "--adopt", own, "--yes")[0] == 0

        outcome = result.get(timeout=60)
    assert (outcome["status"], outcome["nodes_added"]) == ("succeeded", 2)
    lines = [line for line in scaleout(env, "history", "mine")[1] if line["event"] == "operation_adopted"]
    assert "shows no job j-nothere" in lines[0]["overruled"][0]
    assert lines[1]["instead_of"] == "j-nothere"
    assert strange not in json.dumps(outcome)
