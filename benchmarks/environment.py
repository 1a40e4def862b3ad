"""Where a run takes place: a folder, a Redis server and a provider, new for each."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import Request, Running, Stage, System
from benchmarks.machine_load import LoadMeter
from benchmarks.processes import BenchmarkFailed, Measured
from benchmarks.provider import Provider, simulator
from benchmarks.redis_stats import Observer, redis_server, url_of
from benchmarks.redis_stats import cpu_s as server_cpu_s

CHECK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Conditions:
    """The same for every system of a benchmark. `per_s`: requests a second; None for all at once;
    `simulator`: its options; `settings`: this project's."""

    poll_s: float
    simulator: Mapping[str, object]
    per_s: float | None = None
    workers: int = 1
    within_s: float = 300.0
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Environment:
    conditions: Conditions
    folder: Path
    server: Observer
    provider: Provider

    @contextmanager
    def running(
        self, system: System, at_once: int, conditions: Conditions | None = None
    ) -> Iterator[Running]:
        """Start `system`, ready for `at_once` jobs; `conditions` instead of the environment's own."""
        given = conditions or self.conditions
        stage = Stage(
            redis_url=url_of(self.server),
            api_url=self.provider.api_url,
            folder=self.folder,
            poll_s=given.poll_s,
            at_once=at_once,
            workers=given.workers,
            settings=given.settings,
        )
        with system.start(stage) as running:
            yield running

    def load_meter(self, running: Running) -> LoadMeter:
        processes = [*running.processes, *running.producers, self.provider.process]
        return LoadMeter(processes, lambda: server_cpu_s(self.server))

    def wait_for(self, system: System, count: int, running: Running) -> None:
        """Until `count` outcomes are there. Raises BenchmarkFailed if that takes too long."""
        until(
            lambda: int(self.server.xlen(system.stream)),
            count,
            f"{system.title}: outcomes",
            running.processes,
            self.conditions.within_s,
        )


@contextmanager
def environment(conditions: Conditions) -> Iterator[Environment]:
    with (
        tempfile.TemporaryDirectory(prefix="scaleout-bench-") as name,
        redis_server(Path(name)) as server,
        simulator(Path(name), **conditions.simulator) as provider,
    ):
        yield Environment(conditions, Path(name), server, provider)


def requests_on_clusters(count: int, first: int = 0) -> list[Request]:
    """One request of one node a cluster, numbered from `first` on."""
    return [Request(f"bench-{n:05}", f"ehpc-bench{n:05}") for n in range(first, first + count)]


def send_all(running: Running, requests: Sequence[Request], per_s: float | None = None) -> dict[str, float]:
    """Gives when each cluster's request was handed over, seconds since 1970."""
    sent_at = {}
    began = time.monotonic()
    for number, request in enumerate(requests):
        if per_s is not None:
            time.sleep(max(0.0, began + number / per_s - time.monotonic()))
        sent_at[request.cluster_id] = time.time()
        running.send(request)
    return sent_at


def until(
    there: Callable[[], int], count: int, what: str, processes: Sequence[Measured], within_s: float
) -> None:
    """Wait until `there` gives `count`. Raises BenchmarkFailed if a process ends or `within_s` are over."""
    deadline = time.monotonic() + within_s
    while (now := there()) < count:
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"{what}: {now} of {count} after {within_s:g} s")
        time.sleep(CHECK_EVERY_S)


def cpu_s(processes: Sequence[Measured]) -> float:
    return sum(process.cpu_s() for process in processes)
