"""Another installation on the same Redis database, its own provider, and the same ids of requests."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from tests.chaos.workers import Worker
from tests.support.processes import Simulator, simulator

PREFIX = "staging"
REQUESTS = 15
EVERY_S = 2.0
AGAIN_S = 0.3


class Neighbour:
    """Requests a node every two seconds, with ids and clusters that the other installation has too."""

    def __init__(self, redis_url: str, provider: Simulator, worker: Worker) -> None:
        self._redis_url = redis_url
        self._provider = provider
        self.worker = worker
        self._sender = threading.Thread(target=self._send_all, name="neighbour", daemon=True)
        self._sender.start()

    def _send_all(self) -> None:
        with Celery(broker=self._redis_url, set_as_current=False) as client:
            for number in range(REQUESTS):
                fields = {
                    "request_id": f"first-zone{number}",
                    "cluster_id": "ehpc-firstzone0",
                    "zone": "zone0",
                    "node_count": 1,
                }
                while not self._is_sent(client, fields):
                    time.sleep(AGAIN_S)
                time.sleep(EVERY_S)

    def _is_sent(self, client: Celery, fields: Mapping[str, object]) -> bool:
        with suppress(OperationalError, redis.RedisError, OSError):
            client.send_task("scaleout.add_nodes", kwargs=dict(fields), queue=PREFIX, retry=False)
            return True
        return False

    def problems(self, server: redis.Redis, within_s: float) -> list[str]:
        """Wait for all its requests; return their problems, as sentences."""
        keys = [f"{PREFIX}:outcome:first-zone{number}" for number in range(REQUESTS)]
        deadline = time.monotonic() + within_s
        self._sender.join(within_s)
        while int(server.exists(*keys)) < REQUESTS and time.monotonic() < deadline:
            self.worker.revive()
            time.sleep(0.5)
        ended, nodes = int(server.exists(*keys)), self._provider.nodes()
        found = [f"the neighbour's worker ended by itself with {code}" for code in self.worker.exit_codes]
        if (ended, nodes) != (REQUESTS, REQUESTS):
            found.append(f"the neighbour has {nodes} nodes, and {ended} of {REQUESTS} outcomes")
        return found


@contextmanager
def neighbour(
    redis_url: str, env: Mapping[str, str], directory: Path, **options: object
) -> Iterator[Neighbour]:
    """Run one. `env`: of the other installation's workers; `options`: the simulator's."""
    with simulator(directory / "neighbour-simulator.log", **options) as provider:
        own = {**env, "SCALEOUT_KEY_PREFIX": PREFIX, "SCALEOUT_API_URL": provider.api_url}
        # Its webhooks would tell the receiver of ids that the other installation has too.
        own.pop("SCALEOUT_POLICY_FILE", None)
        worker = Worker("neighbour", own, directory / "neighbour.log")
        worker.start()
        try:
            yield Neighbour(redis_url, provider, worker)
        finally:
            worker.stop()
