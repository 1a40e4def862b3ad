"""The main job, end to end: real workers, a real server, the provider simulated at the socket."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from celery.result import AsyncResult

from tests.support.processes import Process, Simulator, eventually, worker


def send(producer: Celery, **fields: Any) -> AsyncResult[Any]:
    given = {"zone": "jn1a", "node_count": 1, **fields}
    return producer.send_task("scaleout.add_nodes", kwargs=given, queue="scaleout")


def stream(server: redis.Redis) -> list[dict[str, str]]:
    entries: Any = server.xrange("scaleout:outcomes")
    return [fields for _, fields in entries]


def test_the_vendors_example_reaches_key_stream_and_result(
    running: Process, producer: Celery, provider: Simulator, server: redis.Redis
) -> None:
    result = send(producer, request_id="example", cluster_id="ehpc-8jqdq0mz", node_role="login")

    outcome = result.get(timeout=30)

    assert outcome["status"] == "succeeded"
    assert json.loads(server.get("scaleout:outcome:example") or "") == outcome
    (entry,) = stream(server)
    assert (entry["request_id"], entry["status"]) == ("example", "succeeded")
    assert json.loads(entry["outcome"]) == outcome
    (call,) = provider.get("truth")["add_nodes_calls"]
    assert call["body"] == (
        '{"cluster_id": "ehpc-8jqdq0mz", "node_role": "login", "node_count": "1", "zone": "jn1a"}'
    )
    (node,) = provider.get("truth")["clusters"]["ehpc-8jqdq0mz"]["nodes"]
    assert outcome["node_ids"] == [node["node_id"]]


def test_250_nodes_are_three_operations_and_twenty_small_requests_are_one(
    running: Process, producer: Celery, provider: Simulator
) -> None:
    large = send(producer, cluster_id="ehpc-large", node_count=250)
    small = [send(producer, cluster_id="ehpc-small", node_count=2) for _ in range(20)]

    outcomes = [result.get(timeout=30) for result in small]
    outcome = large.get(timeout=30)

    assert [part["node_count"] for part in outcome["operations"]] == [99, 99, 52]
    assert outcome["nodes_added"] == 250
    assert len({outcome["operations"][0]["job_id"] for outcome in outcomes}) <= 2
    assert len({node for outcome in outcomes for node in outcome["node_ids"]}) == 40
    assert provider.nodes() == 290


def test_the_same_request_sent_twice_resolves_both_tasks_and_buys_once(
    running: Process, producer: Celery, provider: Simulator
) -> None:
    first = send(producer, request_id="twice", cluster_id="ehpc-a")
    second = send(producer, request_id="twice", cluster_id="ehpc-a")

    assert first.get(timeout=30) == second.get(timeout=30)
    third = send(producer, request_id="twice", cluster_id="ehpc-a")
    assert third.get(timeout=30) == first.get()
    conflict = send(producer, request_id="twice", cluster_id="ehpc-b").get(timeout=30)
    assert (conflict["status"], conflict["error"]["kind"]) == ("rejected", "conflict")
    assert provider.nodes() == 1


def test_a_request_that_waits_for_capacity_succeeds_once_there_is_some(
    running: Process, producer: Celery, provider: Simulator
) -> None:
    provider.post("stock", {"cluster_id": "ehpc-a", "nodes": 0})
    result = send(producer, cluster_id="ehpc-a", node_count=3)
    eventually(lambda: bool(running.events("operation_refused")), "a first try is refused")
    provider.post("stock", {"cluster_id": "ehpc-a", "nodes": 3})

    outcome = result.get(timeout=30)

    assert (outcome["status"], outcome["nodes_added"]) == ("succeeded", 3)
    assert outcome["refusals"] >= 1
    assert outcome["error"] is None


@pytest.mark.parametrize(
    ("on_shortage", "status", "added"), [("partial", "partially_succeeded", 21), ("fail", "failed", 0)]
)
def test_a_shortage_is_met_as_the_request_wishes(
    running: Process, producer: Celery, provider: Simulator, on_shortage: str, status: str, added: int
) -> None:
    provider.post("stock", {"cluster_id": "ehpc-a", "nodes": 21})
    provider.post("options", {"job_duration_s": "0.1"})
    result = send(producer, cluster_id="ehpc-a", node_count=64, on_shortage=on_shortage)

    outcome = result.get(timeout=60)

    assert (outcome["status"], outcome["nodes_added"]) == (status, added)
    assert outcome["error"]["kind"] == "shortage"
    assert provider.nodes() == added


def test_a_failed_job_is_not_sent_again_and_its_nodes_are_reported(
    running: Process, producer: Celery, provider: Simulator
) -> None:
    provider.post("faults", {"kind": "fail_job", "nodes_made": 2, "code": 5200})
    outcome = send(producer, cluster_id="ehpc-a", node_count=5).get(timeout=30)

    assert (outcome["status"], outcome["nodes_added"]) == ("partially_succeeded", 2)
    assert outcome["operations"][0]["error_codes"] == "5200"
    assert len(outcome["node_ids"]) == 2
    assert provider.nodes() == 2


@pytest.mark.parametrize(
    ("code", "message", "again"),
    [
        (1400, "PermissionDenied, resource is in transition", True),
        (1300, "expired", True),
        (5300, "being updated", True),
        (1200, "AuthFailure", True),
        (1100, "InvalidParameter", False),
        (2400, "balance too low", False),
    ],
)
def test_a_definite_refusal_is_followed_by_another_operation_or_ends_the_request(
    running: Process, producer: Celery, provider: Simulator, code: int, message: str, again: bool
) -> None:
    provider.post("faults", {"kind": "ret_code", "code": code, "message": message})
    outcome = send(producer, cluster_id="ehpc-a").get(timeout=30)

    assert outcome["status"] == ("succeeded" if again else "rejected")
    assert outcome["refusals"] == 1
    assert provider.nodes() == int(again)
    if not again:
        assert outcome["error"]["code"] == code


def test_a_deadline_ends_a_request_and_nodes_that_come_late_are_reported(
    running: Process, producer: Celery, provider: Simulator, server: redis.Redis
) -> None:
    provider.post("options", {"job_duration_s": "4"})
    result = send(producer, request_id="late", cluster_id="ehpc-a", node_count=2, deadline_s=1.5)

    outcome = result.get(timeout=30)

    assert (outcome["status"], outcome["nodes_added"]) == ("timed_out", 0)
    assert outcome["operations"][0]["status"] == "running"
    eventually(lambda: bool(running.events("late_nodes")), "the late nodes are reported")
    statuses = [entry["status"] for entry in stream(server)]
    assert statuses == ["timed_out", "late_nodes"]
    assert provider.nodes() == 2


def test_a_new_worker_finishes_fifty_jobs_of_a_killed_one(
    env: dict[str, str], provider: Simulator, producer: Celery, tmp_path: Path
) -> None:
    # What the killed worker had for itself comes up again when its lease has run out.
    env |= {"SCALEOUT_HTTP_TIMEOUT_S": "4", "SCALEOUT_SUBMIT_LEASE_S": "5"}
    provider.post("options", {"job_duration_s": "5"})
    with worker(env, tmp_path / "first.log") as first:
        results = [send(producer, cluster_id=f"ehpc-{n}") for n in range(50)]
        eventually(lambda: len(first.events("operation_submitted")) == 50, "all operations run")
        first.kill()
    with worker(env, tmp_path / "second.log"):
        assert {result.get(timeout=60)["status"] for result in results} == {"succeeded"}
    assert provider.nodes() == 50


def test_a_thousand_requests_for_a_thousand_clusters_succeed_with_two_workers(
    env: dict[str, str], provider: Simulator, producer: Celery, tmp_path: Path
) -> None:
    quiet = {**env, "SCALEOUT_LOG_LEVEL": "INFO"}
    with (
        worker(quiet, tmp_path / "one.log", "-n", "one@%h") as one,
        worker(quiet, tmp_path / "two.log", "-n", "two@%h") as two,
    ):
        results = [send(producer, cluster_id=f"ehpc-{n}") for n in range(1000)]
        assert {result.get(timeout=100)["status"] for result in results} == {"succeeded"}
        assert max(one.rss_mb(), two.rss_mb()) < 150
    truth = provider.get("truth")
    assert {len(cluster["nodes"]) for cluster in truth["clusters"].values()} == {1}
    assert len(truth["clusters"]) == 1000


def test_a_log_line_names_no_task_of_another_request(running: Process, producer: Celery) -> None:
    results = [send(producer, request_id=f"r-{n}", cluster_id=f"ehpc-{n}") for n in range(5)]
    for result in results:
        result.get(timeout=30)

    tasks = {result.id: f"r-{n}" for n, result in enumerate(results)}
    lines = [json.loads(line) for line in running.text().splitlines() if line.startswith("{")]
    named = [line for line in lines if line.get("task_id") in tasks and line["level"] != "debug"]
    assert {line["event"] for line in named} == {"request_accepted"}
    assert all(line["request_id"] == tasks[line["task_id"]] for line in named)


def test_no_log_line_shows_the_secret_key_or_a_signature(
    running: Process, producer: Celery, provider: Simulator
) -> None:
    provider.post("faults", {"kind": "html", "cluster_id": "ehpc-b"})
    send(producer, cluster_id="ehpc-b")
    send(producer, cluster_id="ehpc-a").get(timeout=30)
    eventually(lambda: bool(running.events("api_call")), "calls are logged")

    assert "SECRETACCESSKEY" not in running.text()
    assert "signature=" not in running.text()
