"""A server that comes back empty or older than it was: nothing is bought until a person has looked."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support.command_line import scaleout
from tests.support.durable_server import durable_server
from tests.support.processes import Simulator, environment, eventually, worker


def doctor(env: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    findings: list[dict[str, Any]] = scaleout(env, "doctor", "--json", "--zone", "jn1a", *arguments).json()
    return findings


@pytest.mark.parametrize("what", ["empty", "older"])
def test_a_ledger_with_lost_data_sends_nothing_until_the_loss_is_acknowledged(
    redis_url: str, server: redis.Redis, provider: Simulator, tmp_path: Path, what: str
) -> None:
    env = environment(redis_url, provider.api_url)
    with (
        Celery(broker=redis_url, backend=redis_url) as producer,
        worker(env, tmp_path / "worker.log") as running,
    ):

        def send(request_id: str, cluster_id: str) -> Any:
            fields = {"request_id": request_id, "cluster_id": cluster_id, "zone": "jn1a", "node_count": 1}
            return producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")

        assert send("before", "ehpc-a").get(timeout=30)["status"] == "succeeded"
        provider.post("options", {"job_duration_s": "60"})
        send("running", "ehpc-b")
        eventually(lambda: len(running.events("operation_submitted")) == 2, "a job runs")
        if what == "empty":
            server.delete(*list(server.scan_iter("scaleout:*")))
        else:
            server.hincrby("scaleout:epoch", "count", -5)
        eventually(lambda: bool(running.events("ledger_data_loss")), "the loss is noticed while idle")

        provider.post("options", {"job_duration_s": "1"})
        result = send("after", "ehpc-c")
        eventually(lambda: server.exists("scaleout:request:after") == 1, "it is accepted all the same")
        findings = {finding["check"]: finding for finding in doctor(env)}
        assert findings["data loss"]["status"] == "error"
        assert sum(name.startswith("running j-") for name in findings) == 1
        assert len(provider.get("truth")["add_nodes_calls"]) == 2

        assert "data loss" not in {
            finding["check"] for finding in doctor(env, "--acknowledge-data-loss", "--yes")
        }

        assert result.get(timeout=60)["status"] == "succeeded"
        assert running.events("ledger_data_loss_acknowledged")


@pytest.mark.timeout(180)
def test_steps_that_no_process_remembers_are_found_in_the_operation_log(
    provider: Simulator, tmp_path: Path
) -> None:
    """A backup from before the call is restored, and every worker is a new one."""
    data, backup = tmp_path / "server", tmp_path / "backup"
    provider.post("options", {"job_duration_s": "60"})
    fields = {"request_id": "r1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
    with durable_server(data) as server, Celery(broker=server.url, set_as_current=False) as producer:
        env = environment(server.url, provider.api_url, SIGNATURE_TTL_S=3, HTTP_TIMEOUT_S=2)
        with worker(env, tmp_path / "idle.log"):
            pass
        server.kill()
        shutil.copytree(data, backup)
        server.start()
        with worker(env, tmp_path / "first.log") as first:
            producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")
            eventually(lambda: bool(first.events("operation_submitted")), "the call is sent")
            first.kill()
        server.kill()
        shutil.rmtree(data)
        shutil.copytree(backup, data)
        server.start()

        with worker(env, tmp_path / "second.log") as second:
            producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")
            eventually(lambda: bool(second.events("jobs_without_operation")), "the job is found")
            assert len(second.events("server_changed")) == 1
            time.sleep(2)

        assert len(provider.get("truth")["add_nodes_calls"]) == 1
        findings = {finding["check"]: finding for finding in doctor(env)}
        assert findings["data loss"]["status"] == "error"
        assert findings["server"]["status"] == "warning"


@pytest.mark.timeout(180)
def test_after_a_restart_without_loss_the_work_goes_on(provider: Simulator, tmp_path: Path) -> None:
    with (
        durable_server(tmp_path / "server") as server,
        Celery(broker=server.url, backend=server.url) as client,
    ):
        env = environment(server.url, provider.api_url, SIGNATURE_TTL_S=3, HTTP_TIMEOUT_S=2)
        fields = {"request_id": "r1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
        with worker(env, tmp_path / "first.log"):
            client.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout").get(timeout=30)
        server.kill()
        server.start()

        with worker(env, tmp_path / "second.log") as second:
            again = client.send_task(
                "scaleout.add_nodes", kwargs={**fields, "request_id": "r2"}, queue="scaleout"
            )
            assert again.get(timeout=60)["status"] == "succeeded"
            assert len(second.events("server_changed")) == 1
            assert not second.events("ledger_data_loss")
