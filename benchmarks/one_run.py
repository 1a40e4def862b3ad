"""One system under one load, from the first request to the last outcome."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from benchmarks.percentiles import Spread, spread
from benchmarks.processes import BenchmarkFailed, Measured
from benchmarks.provider import Arrival, Job, Provider, simulator
from benchmarks.redis_figures import RedisFigures, RedisMeter, redis_server, url_of
from benchmarks.systems import Request, Running, Stage, System

LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Conditions:
    """The same for every system of a benchmark. `per_s`: requests a second; None for all at once."""

    poll_s: float
    simulator: Mapping[str, object]
    per_s: float | None = None
    workers: int = 1
    within_s: float = 300.0
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request's end. `at`: when it was written, by the Redis server's clock, seconds since 1970."""

    request_id: str
    status: str
    at: float
    job_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What one run has come to. CPU and Redis figures are from the first request to the last outcome."""

    system: System
    began_at: float
    cpu_s: float
    peak_mb: float
    simulator_cpu_s: float
    redis: RedisFigures
    sent_at: dict[str, float]
    outcomes: list[Outcome]
    arrivals: list[Arrival]
    jobs: dict[str, Job]

    @property
    def elapsed_s(self) -> float:
        return max(outcome.at for outcome in self.outcomes) - self.began_at

    @property
    def messages(self) -> int:
        command = self.system.message_command
        return 0 if command is None else self.redis.times(command)

    def calls(self, *whats: str) -> int:
        """Calls of these kinds; all, if none is named."""
        return sum(1 for arrival in self.arrivals if not whats or arrival.what in whats)

    @property
    def following_calls(self) -> int:
        """Calls that ask how jobs stand: listings of a zone, and of single jobs."""
        return self.calls("operation", "operation?job_ids")

    def delays_s(self) -> list[float]:
        """From the end of a request's last job to its outcome."""
        return [
            outcome.at - max(self.jobs[job_id].ends_at for job_id in outcome.job_ids)
            for outcome in self.outcomes
            if outcome.job_ids
        ]

    def delay(self) -> Spread:
        return spread(self.delays_s())

    def to_the_wire(self) -> Spread:
        """From a request's enqueueing to its addNodes at the provider; one request a cluster."""
        cluster_of = {job.cluster_id: job.created_at for job in self.jobs.values()}
        return spread([cluster_of[cluster] - at for cluster, at in self.sent_at.items()])


def run(system: System, requests: Sequence[Request], conditions: Conditions) -> Run:
    """Raises BenchmarkFailed if not every request ends, and ends well, in time."""
    with (
        tempfile.TemporaryDirectory(prefix="scaleout-bench-") as name,
        redis_server(Path(name)) as server,
        simulator(Path(name), **conditions.simulator) as provider,
        system.start(stage_of(conditions, server, provider, Path(name), len(requests))) as running,
    ):
        meter = RedisMeter(server)
        before = cpu_s(running.processes)
        simulator_before = provider.process.cpu_s()
        began_at = time.time()
        sent_at = send_all(running, requests, conditions.per_s)
        wait_for(server, system, len(requests), running, conditions.within_s)
        return Run(
            system=system,
            began_at=began_at,
            cpu_s=cpu_s(running.processes) - before,
            peak_mb=sum(process.peak_mb() for process in running.processes),
            simulator_cpu_s=provider.process.cpu_s() - simulator_before,
            redis=meter.read(),
            sent_at=sent_at,
            outcomes=outcomes_of(server, system),
            arrivals=provider.arrivals(),
            jobs=provider.jobs(),
        )


def stage_of(
    conditions: Conditions, server: redis.Redis, provider: Provider, folder: Path, at_once: int
) -> Stage:
    return Stage(
        redis_url=url_of(server),
        api_url=provider.api_url,
        folder=folder,
        poll_s=conditions.poll_s,
        at_once=at_once,
        workers=conditions.workers,
        settings=conditions.settings,
    )


def requests_on_clusters(count: int, node_count: int = 1) -> list[Request]:
    """One request a cluster."""
    return [Request(f"bench-{n:05}", f"ehpc-bench{n:05}", node_count) for n in range(count)]


def send_all(running: Running, requests: Sequence[Request], per_s: float | None) -> dict[str, float]:
    """Gives when each cluster's request was handed over, seconds since 1970."""
    sent_at = {}
    began = time.monotonic()
    for number, request in enumerate(requests):
        if per_s is not None:
            time.sleep(max(0.0, began + number / per_s - time.monotonic()))
        sent_at[request.cluster_id] = time.time()
        running.send(request)
    return sent_at


def wait_for(server: redis.Redis, system: System, count: int, running: Running, within_s: float) -> None:
    """Until `count` outcomes are there. Raises BenchmarkFailed if that takes too long."""
    deadline = time.monotonic() + within_s
    while (there := int(server.xlen(system.stream))) < count:
        for process in running.processes:
            process.check()
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"{system.title}: {there} of {count} outcomes after {within_s:g} s")
        time.sleep(LOOK_EVERY_S)


def outcomes_of(server: redis.Redis, system: System) -> list[Outcome]:
    """Raises BenchmarkFailed if one is anything but succeeded."""
    entries: Any = server.xrange(system.stream)
    outcomes = [_outcome(entry_id, fields) for entry_id, fields in entries]
    if wrong := [outcome for outcome in outcomes if outcome.status != "succeeded"]:
        raise BenchmarkFailed(f"{system.title}: {len(wrong)} requests ended as {wrong[0].status}")
    return outcomes


def _outcome(entry_id: str, fields: Mapping[str, str]) -> Outcome:
    content = json.loads(fields["outcome"])
    operations = content["operations"] if isinstance(content, dict) else [{"job_id": content}]
    job_ids = tuple(operation["job_id"] for operation in operations)
    at = int(entry_id.partition("-")[0]) / 1000
    return Outcome(fields["request_id"], fields["status"], at, job_ids)


def cpu_s(processes: Sequence[Measured]) -> float:
    return sum(process.cpu_s() for process in processes)
