"""A message whose handling meets an error of the program, or of the ledger, is given back and not lost."""

from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support.processes import Simulator, environment, eventually, worker

POLICY = "[limits]\nnodes_per_cluster = 100\n"


@pytest.mark.timeout(120)
@pytest.mark.permanent_keys("scaleout:unreadable")
def test_a_message_waits_until_its_clusters_record_can_be_read(
    redis_url: str, server: redis.Redis, provider: Simulator, producer: Celery, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY, encoding="utf-8")
    server.hset("scaleout:cluster:ehpc-a", mapping={"version": 1, "content": "[]"})

    def send(request_id: str, cluster_id: str) -> Any:
        fields = {"request_id": request_id, "cluster_id": cluster_id, "zone": "jn1a", "node_count": 1}
        return producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")

    with worker(environment(redis_url, provider.api_url, POLICY_FILE=policy), tmp_path / "w.log") as running:
        waits = send("waits", "ehpc-a")
        eventually(lambda: bool(running.events("message_not_handled")), "it is given back")
        assert send("other", "ehpc-b").get(timeout=60)["status"] == "succeeded"
        assert not waits.ready()

        server.delete("scaleout:cluster:ehpc-a")
        assert waits.get(timeout=60)["status"] == "succeeded"
