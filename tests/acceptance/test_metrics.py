"""Metrics of a worker and of the ledger, from real processes."""

import urllib.request
from pathlib import Path

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from tasks.metrics.families import FAMILIES
from tasks.runtime.process_metrics import DESCRIBED
from tests.integration.test_command_line import scaleout
from tests.support.durable_server import durable_server
from tests.support.gateway import Gateway, gateway
from tests.support.ports import free_port
from tests.support.processes import Simulator, environment, eventually, process, worker

pytestmark = pytest.mark.timeout(120)
Values = dict[tuple[str, tuple[str, ...]], float]
POLICY = """
[limits]
nodes_per_day = 100

[[schedule]]
name = "evening"
cron = "0 19 * * *"
cluster_id = "ehpc-b"
zone = "jn1a"
node_count = 2
"""


@pytest.fixture
def env(redis_url: str, provider: Simulator, tmp_path: Path) -> dict[str, str]:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    return environment(redis_url, provider.api_url, POLICY_FILE=policy)


def values(text: str) -> Values:
    families = text_string_to_metric_families(text)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def of_ledger(running: Gateway) -> Values:
    answer = running.get("/metrics")
    assert answer.status == 200, answer.body
    return values(answer.body.decode())


def test_the_ledgers_metrics_say_what_is_so(env: dict[str, str], provider: Simulator, tmp_path: Path) -> None:
    port = free_port()
    with (
        gateway(env, tmp_path / "gateway.log") as running,
        worker({**env, "SCALEOUT_METRICS_PORT": str(port)}, tmp_path / "worker.log") as one,
    ):
        eventually(lambda: bool(one.events("schedule_added")), "the schedule is in force")
        ended = running.post("/v1/requests", {**request("r-1"), "node_count": 3})
        assert ended.status == 202
        assert running.get("/v1/requests/r-1?wait=30").json()["state"] == "succeeded"
        assert scaleout(env, "pause", "--reason", "moving").code == 0
        running.post("/v1/requests", request("r-2"))
        oldest = ("scaleout_requests_oldest_seconds", ("pause",))
        eventually(lambda: of_ledger(running).get(oldest, 0) > 0, "it waits")
        found = of_ledger(running)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
            own = values(reply.read().decode())

    expected = {
        ("scaleout_redis_up", ()): 1,
        ("scaleout_workers_alive", ()): 1,
        ("scaleout_requests_open", ()): 1,
        ("scaleout_requests_state", ("waiting",)): 1,
        ("scaleout_requests_total", ("succeeded",)): 1,
        ("scaleout_requests_total", ("failed",)): 0,
        ("scaleout_jobs_total", ("succeeded",)): 1,
        ("scaleout_nodes_added_total", ()): 3,
        ("scaleout_nodes_bought", ("day",)): 3,
        ("scaleout_nodes_limit", ("day",)): 100,
        ("scaleout_pauses", ("account",)): 1,
        ("scaleout_ledger_lost", ()): 0,
        ("scaleout_operations", ("held",)): 0,
    }
    assert {name: found[name] for name in expected} == expected
    assert found["scaleout_schedule_next_timestamp_seconds", ("evening",)] > 1e9
    assert own["scaleout_api_calls_total", ("addNodes", "submit", "ok")] == 1
    assert own["scaleout_operation_duration_seconds_count", ("succeeded",)] == 1
    assert own["scaleout_events_total", ("operation_planned",)] == 1
    described = {family.name for family in FAMILIES}
    assert {name for name, _ in found if name.startswith("scaleout_")} <= described
    bases = {one.name for one in DESCRIBED}
    unknown = {
        name
        for name, _ in own
        if name.startswith("scaleout_") and not any(name.startswith(base) for base in bases)
    }
    assert {name for name in unknown if not name.endswith("_created")} == set()


def request(name: str) -> dict[str, object]:
    return {"request_id": name, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}


def test_without_redis_nothing_but_that_is_said(env: dict[str, str], tmp_path: Path) -> None:
    with durable_server(tmp_path) as server:
        there = {**env, "SCALEOUT_REDIS_URL": server.url}
        with gateway(there, tmp_path / "gateway.log") as running:
            assert of_ledger(running)["scaleout_redis_up", ()] == 1
            server.kill()
            eventually(lambda: of_ledger(running)["scaleout_redis_up", ()] == 0, "it is noticed")
            assert len(of_ledger(running)) == 1


def test_a_port_that_is_taken_ends_the_worker_with_one_line(
    env: dict[str, str], tmp_path: Path, server: redis.Redis
) -> None:
    taken = server.connection_pool.connection_kwargs["port"]
    arguments = ["-m", "celery", "-A", "workers", "worker"]
    with process(arguments, {**env, "SCALEOUT_METRICS_PORT": str(taken)}, tmp_path / "worker.log") as one:
        assert one.popen.wait(30) == 1

    assert "each worker needs its own" in one.text().splitlines()[-1]
