"""People who pause and resume, and a pool that fails, with a real worker and the provider at the socket."""

from pathlib import Path
from typing import Any

import redis

from tests.support.command_line import scaleout
from tests.support.processes import Process, Simulator, eventually, worker


def submit(env: dict[str, str], request_id: str, cluster_id: str, nodes: int = 1) -> None:
    fields = ["--cluster", cluster_id, "--zone", "jn1a", "--nodes", str(nodes), "--request-id", request_id]
    assert scaleout(env, "submit", *fields).code == 0


def outcome(env: dict[str, str], request_id: str) -> Any:
    return scaleout(env, "wait", request_id, "--timeout", "30", "--json").json()["outcome"]


def calls(provider: Simulator) -> list[Any]:
    found: list[Any] = provider.get("truth")["add_nodes_calls"]
    return found


def test_nothing_new_is_sent_during_a_pause_and_everything_after_it(
    env: dict[str, str], provider: Simulator, running: Process, server: redis.Redis
) -> None:
    provider.post("options", {"job_duration_s": "4"})
    submit(env, "before", "ehpc-a")
    eventually(lambda: bool(running.events("operation_submitted")), "a job runs")

    assert scaleout(env, "pause", "--reason", "audit", "--by", "ann").code == 0
    submit(env, "after", "ehpc-b")
    parked = "scaleout:parked:everything"
    eventually(lambda: server.zscore(parked, "cluster:ehpc-b") is not None, "what is waiting is parked")

    # Running jobs are polled to their end meanwhile.
    assert outcome(env, "before")["status"] == "succeeded"
    assert len(calls(provider)) == 1
    assert "paused by ann" in scaleout(env, "status", "after", "--json").json()["reason"]["message"]
    (paused,) = running.events("paused")
    assert (paused["by"], paused["reason"]) == ("ann", "audit")

    assert scaleout(env, "resume", "--by", "bob").code == 0

    assert outcome(env, "after")["status"] == "succeeded"
    assert len(calls(provider)) == 2
    eventually(lambda: bool(running.events("resumed")), "it is in the log")
    assert running.events("resumed")[0]["by"] == "bob"


def test_a_pause_outlives_the_worker_and_lifts_by_itself(
    env: dict[str, str], provider: Simulator, server: redis.Redis, tmp_path: Path
) -> None:
    assert scaleout(env, "pause", "--cluster", "ehpc-a", "--for", "1d").code == 0
    submit(env, "paused", "ehpc-a")
    submit(env, "other", "ehpc-b")
    with worker(env, tmp_path / "first.log") as first:
        assert outcome(env, "other")["status"] == "succeeded"
        assert [call["cluster_id"] for call in calls(provider)] == ["ehpc-b"]
        assert server.zscore("scaleout:parked:ehpc-a", "cluster:ehpc-a") is not None
        first.kill()

    assert scaleout(env, "pause", "--cluster", "ehpc-a", "--for", "2s").code == 0
    with worker(env, tmp_path / "second.log") as second:
        assert outcome(env, "paused")["status"] == "succeeded"

        (resumed,) = second.events("resumed")
        assert (resumed["by"], resumed["cluster_id"]) == ("its end time", "ehpc-a")


def test_a_pool_with_five_failed_jobs_waits_until_its_breaker_closes(
    env: dict[str, str], provider: Simulator, running: Process
) -> None:
    provider.post("options", {"job_duration_s": "0.2"})
    provider.post("faults", {"kind": "fail_job", "times": 5})
    for number in range(7):
        submit(env, f"r-{number}", "ehpc-a", 60)

    eventually(lambda: bool(running.events("breaker_opened")), "the breaker opens")
    assert len(calls(provider)) == 5
    shown = {finding["check"]: finding for finding in scaleout(env, "doctor", "--json").json()}
    assert shown["breaker ehpc-a"]["status"] == "error"
    reason = scaleout(env, "status", "r-6", "--json").json()["reason"]
    assert (reason["kind"], "5 operations in a row" in reason["message"]) == ("breaker", True)

    assert scaleout(env, "resume", "--cluster", "ehpc-a").code == 0

    assert [outcome(env, f"r-{number}")["status"] for number in (5, 6)] == ["succeeded", "succeeded"]
    assert len(calls(provider)) == 7
