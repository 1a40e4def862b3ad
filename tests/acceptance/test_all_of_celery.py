"""What a producer may use of Celery: callbacks, times, states, revoking, and results that nobody reads."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery, chain, chord, group, signature
from celery._state import get_current_app
from celery.result import AsyncResult

from tests.support.processes import Process, Simulator, environment, eventually, process, simulator, worker
from tests.support.producer_app import CALLS

pytestmark = pytest.mark.timeout(120)

Calls = Callable[[], list[tuple[str, Any]]]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    log = tmp_path_factory.mktemp("celery") / "simulator.log"
    with simulator(log, job_duration_s=1) as started:
        yield started


@pytest.fixture
def running(redis_url: str, provider: Simulator, tmp_path: Path) -> Iterator[Process]:
    with worker(environment(redis_url, provider.api_url), tmp_path / "worker.log") as started:
        yield started


@pytest.fixture
def app(redis_url: str, running: Process) -> Iterator[Celery]:
    before = get_current_app()
    with Celery("producer", broker=redis_url, backend=redis_url) as producer:
        yield producer
    before.set_current()


@pytest.fixture
def calls(redis_url: str, server: redis.Redis, tmp_path: Path) -> Iterator[Calls]:
    """What a producer's own worker is called with; it reads Celery's default queue."""
    env = {**os.environ, "PRODUCER_URL": redis_url}
    arguments = ["-m", "celery", "-A", "tests.support.producer_app", "worker", "-P", "solo", "-l", "INFO"]
    with process(arguments, env, tmp_path / "producer.log") as started:
        started.until_written(" ready.")
        yield lambda: [json.loads(text) for text in server.lrange(CALLS, 0, -1)]


def fields(**more: Any) -> dict[str, Any]:
    return {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1, **more}


def send(app: Celery, options: dict[str, Any] | None = None, **more: Any) -> AsyncResult:
    kwargs = fields(**more)
    return app.send_task("scaleout.add_nodes", kwargs=kwargs, queue="scaleout", **(options or {}))


def add_nodes(app: Celery, **more: Any) -> Any:
    return signature("scaleout.add_nodes", kwargs=fields(**more), queue="scaleout", immutable=True, app=app)


def own(app: Celery, name: str) -> Any:
    return app.signature(f"producer.{name}")


def test_what_is_linked_runs_with_the_outcome_and_by_its_status(app: Celery, calls: Calls) -> None:
    links = {"link": own(app, "linked"), "link_error": own(app, "failed")}

    good, bad = send(app, links), send(app, links, node_count=0)
    assert (good.get(timeout=30)["status"], bad.get(timeout=30)["status"]) == ("succeeded", "rejected")

    eventually(lambda: len(calls()) == 2, "both callbacks have run")
    by_name = dict(calls())
    assert by_name["linked"]["request_id"] == good.id
    assert by_name["failed"]["request_id"] == bad.id
    time.sleep(1)
    assert len(calls()) == 2


def test_chains_groups_and_chords_go_on_when_the_requests_end(app: Celery, calls: Calls) -> None:
    chained = chain(add_nodes(app), own(app, "linked")).apply_async()
    joined = chord([add_nodes(app, cluster_id=f"ehpc-{name}") for name in "xyz"], own(app, "body"))
    together = group([add_nodes(app, cluster_id=f"ehpc-{name}") for name in "uv"]).apply_async()

    assert chained.get(timeout=30)["status"] == "succeeded"
    assert [outcome["nodes_added"] for outcome in joined.apply_async().get(timeout=40)] == [1, 1, 1]
    assert [outcome["status"] for outcome in together.get(timeout=40)] == ["succeeded", "succeeded"]
    assert sorted(name for name, _ in calls()) == ["body", "linked"]


def test_a_chain_stops_at_an_outcome_without_nodes(app: Celery, calls: Calls) -> None:
    chained = chain(add_nodes(app, node_count=0), own(app, "linked")).apply_async()

    assert chained.parent.get(timeout=30)["status"] == "rejected"
    time.sleep(1)
    assert calls() == []


def test_a_message_that_comes_twice_calls_back_once(app: Celery, calls: Calls) -> None:
    options = {"link": own(app, "linked"), "task_id": "one-and-the-same"}
    for _ in range(2):
        assert send(app, options, request_id="one").get(timeout=30)["status"] == "succeeded"
        time.sleep(1)

    assert [name for name, _ in calls()] == ["linked"]


def test_the_state_is_started_with_the_status_document(app: Celery) -> None:
    seen: list[dict[str, Any]] = []

    outcome = send(app).get(timeout=30, on_message=seen.append)

    started = [meta["result"] for meta in seen if meta["status"] == "STARTED"]
    assert outcome["status"] == "succeeded"
    assert started
    assert {document["version"] for document in started} == {1}
    assert started[-1]["state"] == "in_progress"
    assert started[-1]["reason"]["kind"] == "job"
    assert seen[-1]["status"] == "SUCCESS"


def test_a_countdown_waits_in_the_ledger_and_says_so(app: Celery, provider: Simulator) -> None:
    before = len(provider.get("truth")["add_nodes_calls"])
    result = send(app, {"countdown": 5})

    eventually(lambda: result.state == "STARTED", "it is accepted")
    assert (result.info["state"], result.info["reason"]["kind"]) == ("waiting", "not_before")
    time.sleep(2)
    assert len(provider.get("truth")["add_nodes_calls"]) == before
    assert result.get(timeout=30)["duration_s"] >= 5


def test_not_before_is_a_field_too(app: Celery) -> None:
    late, far = send(app, not_before="2020-01-01T00:00:00Z"), send(app, not_before="2999-01-01T00:00:00Z")
    unclear = send(app, not_before="2020-01-01T00:00:00")

    assert late.get(timeout=30)["status"] == "succeeded"
    assert "7 days ahead" in far.get(timeout=30)["error"]["message"]
    assert "must be a time such as" in unclear.get(timeout=30)["error"]["message"]


def test_a_message_that_has_expired_buys_nothing(app: Celery) -> None:
    outcome = send(app, {"expires": -5}).get(timeout=30)

    assert (outcome["status"], outcome["error"]["kind"]) == ("rejected", "expired")


def test_revoking_cancels_what_can_be_cancelled(app: Celery) -> None:
    waiting = send(app, {"countdown": 60})
    eventually(lambda: waiting.state == "STARTED", "it is accepted")

    waiting.revoke()
    assert (waiting.get(timeout=30)["status"], waiting.state) == ("cancelled", "SUCCESS")

    app.control.revoke("not-sent-yet")
    time.sleep(1)
    late = send(app, {"task_id": "not-sent-yet"})
    assert (late.get(timeout=30)["status"], late.state) == ("cancelled", "SUCCESS")


def test_a_request_is_cancelled_by_a_task(app: Celery) -> None:
    waiting = send(app, {"countdown": 60}, request_id="mine")
    eventually(lambda: waiting.state == "STARTED", "it is accepted")

    def cancel(request_id: str) -> Any:
        kwargs = {"request_id": request_id, "by": "a service", "reason": "no need"}
        return app.send_task("scaleout.cancel", kwargs=kwargs, queue="scaleout").get(timeout=30)

    assert cancel("mine") == {"request_id": "mine", "result": "cancelled"}
    assert waiting.get(timeout=30)["status"] == "cancelled"
    assert cancel("mine")["result"] == "ended_before"
    assert cancel("nobodys")["result"] == "not_found"


def test_a_conflict_names_the_fields_and_not_the_first_caller(app: Celery) -> None:
    first = send(app, {"task_id": "t-1", "countdown": 3}, request_id="mine")
    eventually(lambda: first.state == "STARTED", "it is accepted")

    send(app, {"task_id": "t-1"}, request_id="mine", node_count=5)
    other = send(app, request_id="mine", node_count=5, requested_by="b")

    assert "(node_count, requested_by)" in other.get(timeout=30)["error"]["message"]
    assert first.get(timeout=30)["status"] == "succeeded"


def test_a_result_that_is_ignored_is_not_stored(app: Celery, provider: Simulator) -> None:
    nodes = provider.nodes()
    result = send(app, {"ignore_result": True})

    eventually(lambda: provider.nodes() == nodes + 1, "its node is there")
    time.sleep(2)
    assert result.backend.get_task_meta(result.id)["status"] == "PENDING"
