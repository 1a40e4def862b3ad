"""A producer that sends thousands of requests a second to one cluster delays no other cluster's jobs."""

import json
import threading
from pathlib import Path

import pytest
import redis
from celery import Celery

from tests.support.messages import message
from tests.support.processes import Simulator, environment, worker

BATCH = 400
PAUSE_S = 0.1
BODY = json.dumps([[], {"cluster_id": "ehpc-flooded", "zone": "jn1a", "node_count": 1}, {}]).encode()


def flood(server: redis.Redis, stop: threading.Event) -> None:
    """Send some four thousand requests a second until told to stop."""
    number = 0
    while not stop.wait(PAUSE_S):
        messages = [message(BODY, f"flood-{number + index}") for index in range(BATCH)]
        server.lpush("scaleout", *map(json.dumps, messages))
        number += BATCH


@pytest.mark.timeout(120)
def test_a_flood_on_one_cluster_delays_no_other_clusters_jobs(
    server: redis.Redis, redis_url: str, provider: Simulator, tmp_path: Path
) -> None:
    client = Celery(broker=redis_url, backend=redis_url, set_as_current=False)
    stop = threading.Event()
    with worker(environment(redis_url, provider.api_url), tmp_path / "worker.log"):
        fields = {"request_id": "quiet", "cluster_id": "ehpc-quiet", "zone": "jn1a", "node_count": 3}
        result = client.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout")
        thread = threading.Thread(target=flood, args=(server, stop))
        thread.start()
        try:
            outcome = result.get(timeout=30)
            waiting = server.llen("scaleout")
        finally:
            stop.set()
            thread.join()
    client.close()

    assert (outcome["status"], provider.nodes("ehpc-quiet")) == ("succeeded", 3)
    assert waiting > BATCH, "the flood was over before the quiet cluster's job was"
