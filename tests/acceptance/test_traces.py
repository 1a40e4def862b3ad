"""Traces over several processes: a producer, a gateway, a worker, and a collector that gets their spans."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from tests.support.gateway import gateway
from tests.support.processes import ROOT, Simulator, environment, eventually, worker
from tests.support.trace_receiver import Collector, collector

pytestmark = pytest.mark.timeout(120)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER = "1bf7651916cd43dd8448eb211c80319c"
NODES = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}


@pytest.fixture
def traces() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture
def env(redis_url: str, provider: Simulator, traces: Collector) -> dict[str, str]:
    return {**environment(redis_url, provider.api_url, COALESCE_WINDOW_S=1), **traces.environment()}


def test_a_producers_trace_goes_on_to_the_end_of_its_request(
    env: dict[str, str], traces: Collector, producer: Celery, tmp_path: Path
) -> None:
    with gateway(env, tmp_path / "gateway.log") as http, worker(env, tmp_path / "worker.log") as running:
        parent = f"00-{TRACE}-{SPAN}-01"
        sent = http.call("POST", "/v1/requests", {**NODES, "request_id": "by-http"}, traceparent=parent)
        assert sent.status == 202
        result = producer.send_task(
            "scaleout.add_nodes",
            kwargs={**NODES, "request_id": "by-celery"},
            queue="scaleout",
            headers={"traceparent": f"00-{OTHER}-{SPAN}-01"},
        )
        assert result.get(timeout=40)["status"] == "succeeded"
        eventually(lambda: len(traces.named("finish")) == 2, "both ends are traced")
        planned = running.events("operation_planned")

    by_http, by_celery = (
        {span.name.removeprefix("scaleout ") for span in traces.spans if span.trace_id == trace}
        for trace in (TRACE, OTHER)
    )
    accepted = {span.trace_id: span for span in traces.named("accept")}
    assert {"accept", "finish"} <= by_http & by_celery
    assert (accepted[TRACE].role, accepted[OTHER].role) == ("gateway", "worker")
    assert accepted[TRACE].parent_id == SPAN
    (submit,) = traces.named("submit")
    assert {submit.trace_id, *submit.links} == {TRACE, OTHER}
    assert {link for span in traces.named("poll") for link in span.links} <= {TRACE, OTHER}
    assert traces.named("poll")
    assert {span.attributes["status"] for span in traces.named("finish")} == {"succeeded"}
    for secret in (b"signature", b"http://", env["SCALEOUT_SECRET_ACCESS_KEY"].encode()):
        assert secret not in traces.raw
    assert len(planned) == 1
    lines = [line for line in running.events("operation_submitted") if line.get("trace_id")]
    assert {line["trace_id"] for line in lines} <= {TRACE, OTHER}
    assert lines


def test_a_trace_survives_the_worker_that_began_it(
    env: dict[str, str], traces: Collector, producer: Celery, tmp_path: Path, server: redis.Redis
) -> None:
    with worker(env, tmp_path / "one.log") as first:
        producer.send_task(
            "scaleout.add_nodes",
            kwargs={**NODES, "request_id": "r-1"},
            queue="scaleout",
            headers={"traceparent": f"00-{TRACE}-{SPAN}-01"},
        )
        eventually(lambda: bool(first.events("request_accepted")), "it is accepted")
        first.kill()
    with worker(env, tmp_path / "two.log"):
        eventually(lambda: len(traces.named("finish")) == 1, "its end is traced")

    assert {span.trace_id for span in traces.named("finish")} == {TRACE}
    assert "traceparent" in str(server.hget("scaleout:request:r-1", "content"))


def test_without_traces_the_context_is_kept_and_the_sdk_is_not_loaded(
    env: dict[str, str], traces: Collector, tmp_path: Path, server: redis.Redis
) -> None:
    with gateway({**env, "SCALEOUT_TRACES": "false"}, tmp_path / "gateway.log") as http:
        parent = f"00-{TRACE}-{SPAN}-01"
        http.call("POST", "/v1/requests", {**NODES, "request_id": "r-1"}, traceparent=parent)
        http.call("POST", "/v1/requests", {**NODES, "request_id": "r-2"}, traceparent="00-not-one-01")
    code = "import sys, workers.celery; print('opentelemetry.sdk.trace' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )

    assert parent in str(server.hget("scaleout:request:r-1", "content"))
    assert "traceparent" not in str(server.hget("scaleout:request:r-2", "content"))
    assert (traces.spans, done.stdout.strip()) == ([], "False")
