"""What a run works on: a durable server, the simulator, a proxy before each, and a fleet of workers."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tests.chaos.neighbour import Neighbour, neighbour
from tests.chaos.tcp_proxy import TcpProxy, tcp_proxy
from tests.chaos.workers import Fleet, fleet
from tests.support.durable_server import DurableServer, durable_server
from tests.support.processes import Simulator, environment, simulator

SIGNATURE_TTL_S = 3
SUBMIT_LEASE_S = 3
# Of every call, so that what is done to processes and networks meets calls under way.
LATENCY_S = 0.15

SETTINGS: dict[str, object] = {
    "SIGNATURE_TTL_S": SIGNATURE_TTL_S,
    "LOG_LAG_S": 1,
    "HTTP_TIMEOUT_S": 2,
    "SUBMIT_LEASE_S": SUBMIT_LEASE_S,
    "TICK_S": 0.1,
}


class History:
    """What was done and seen, by time since the start, to understand a run that failed."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lines: list[str] = []

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def note(self, text: str) -> None:
        self._lines.append(f"{self.seconds:7.2f} s  {text}")

    def __str__(self) -> str:
        return "\n".join(self._lines)


@dataclass
class Environment:
    server: DurableServer
    redis_proxy: TcpProxy
    http_proxy: TcpProxy
    provider: Simulator
    env: dict[str, str]
    fleet: Fleet
    neighbour: Neighbour
    history: History = field(default_factory=History)

    @property
    def redis_url(self) -> str:
        """The server as workers and producers reach it."""
        return f"redis://127.0.0.1:{self.redis_proxy.port}/0"

    def calm(self) -> None:
        """No fault any more: the server is up, the networks work, every worker runs."""
        self.server.start()
        self.redis_proxy.calm()
        self.http_proxy.calm()
        for worker in self.fleet.workers:
            worker.resume()
            worker.start()


@contextmanager
def started_harness(
    directory: Path, workers: int, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Environment]:
    """Everything in processes of its own but the proxies; logs and data are in `directory`.

    Args:
        workers: how many there are of those that faults may kill.
        more: further variables of the environment of all of our processes.
    """
    with (
        durable_server(directory / "server") as server,
        simulator(
            directory / "simulator.log",
            signature_ttl_s=SIGNATURE_TTL_S,
            job_duration_s="0.2-1.2",
            latency_s=LATENCY_S,
        ) as provider,
        tcp_proxy(server.port) as redis_proxy,
        tcp_proxy(int(provider.url.rpartition(":")[2])) as http_proxy,
    ):
        env = environment(
            f"redis://127.0.0.1:{redis_proxy.port}/0", f"http://127.0.0.1:{http_proxy.port}/api", **SETTINGS
        ) | dict(more)
        quick = {"signature_ttl_s": SIGNATURE_TTL_S, "job_duration_s": "0.2-1.2"}
        url = f"redis://127.0.0.1:{redis_proxy.port}/0"
        with (
            fleet(workers, env, directory) as running,
            neighbour(url, env, directory, **quick) as beside,
        ):
            yield Environment(server, redis_proxy, http_proxy, provider, env, running, beside)
