"""A worker that waits for replicas before it sends, and a host that remembers."""

from pathlib import Path

import pytest
from celery import Celery

from tests.support.durable_server import durable_server
from tests.support.processes import Simulator, environment, eventually, worker
from tests.support.replicated_server import replicated_server

FIELDS = {"request_id": "r1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}


@pytest.mark.timeout(120)
def test_no_call_is_sent_before_enough_replicas_know_of_it(provider: Simulator, tmp_path: Path) -> None:
    with (
        replicated_server(tmp_path / "redis") as server,
        Celery(broker=server.master.url, backend=server.master.url, set_as_current=False) as client,
        worker(
            environment(server.master.url, provider.api_url, WAIT_REPLICAS=1), tmp_path / "w.log"
        ) as running,
    ):
        server.fail_behind(0)
        result = client.send_task("scaleout.add_nodes", kwargs=FIELDS, queue="scaleout")
        eventually(lambda: len(running.events("operation_refused")) >= 2, "it is tried and not sent")
        assert "0 of 1 replicas" in str(running.events("operation_refused")[0])
        assert provider.get("truth")["add_nodes_calls"] == []

        server.follow()
        assert result.get(timeout=60)["status"] == "succeeded"


@pytest.mark.timeout(120)
def test_a_new_worker_on_a_host_that_remembers_notices_an_emptied_ledger(
    provider: Simulator, tmp_path: Path
) -> None:
    with (
        durable_server(tmp_path / "redis") as server,
        Celery(broker=server.url, backend=server.url) as client,
    ):
        env = environment(server.url, provider.api_url, STATE_DIR=tmp_path / "state")
        with worker(env, tmp_path / "first.log"):
            client.send_task("scaleout.add_nodes", kwargs=FIELDS, queue="scaleout").get(timeout=30)
        with server.client() as database:
            database.flushall()

        with worker(env, tmp_path / "second.log") as second:
            eventually(lambda: bool(second.events("ledger_data_loss")), "the loss is noticed")
