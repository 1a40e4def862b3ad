"""A server that comes back empty or older than it was: nothing is bought until a person has looked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support.processes import ROOT, Simulator, environment, eventually, worker


def doctor(env: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli.main", "doctor", "--json", "--zone", "jn1a", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    findings: list[dict[str, Any]] = json.loads(done.stdout)
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

        assert "data loss" not in {finding["check"] for finding in doctor(env, "--acknowledge-data-loss")}

        assert result.get(timeout=60)["status"] == "succeeded"
        assert running.events("ledger_data_loss_acknowledged")
