"""One system under one load, from the first request to the last outcome."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.contenders import SCALEOUT, Request, System
from benchmarks.environment import Conditions, cpu_s, environment, send_all
from benchmarks.outcomes import Outcome, delays_s, read_outcomes
from benchmarks.percentiles import Spread, spread
from benchmarks.processes import BenchmarkFailed
from benchmarks.provider import Arrival, Job
from benchmarks.redis_stats import RedisFigures, RedisMeter


@dataclass(frozen=True, slots=True)
class Run:
    """What one run has come to. CPU and Redis figures are from the first request to the last outcome."""

    system: System
    began_at: float
    cpu_s: float
    peak_mb: float
    simulator_cpu_s: float
    others_percent: float
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

    def calls(self, *kinds: str) -> int:
        """Calls of these kinds; all, if none is named."""
        return sum(1 for arrival in self.arrivals if not kinds or arrival.what in kinds)

    @property
    def polling_calls(self) -> int:
        """Calls that ask how jobs stand: listings of a zone, and of single jobs."""
        return self.calls("operation", "operation?job_ids")

    def delay(self) -> Spread:
        return spread(delays_s(self.outcomes, self.jobs))

    def to_the_wire(self) -> Spread:
        """From a request's enqueueing to its addNodes at the provider; one request a cluster."""
        made_at = {job.cluster_id: job.created_at for job in self.jobs.values()}
        return spread([made_at[cluster] - at for cluster, at in self.sent_at.items()])


@dataclass(frozen=True, slots=True)
class Runs:
    """Those that came to their end, and a sentence about each alternative that did not."""

    done: list[Run]
    failed: list[str]


def run_each(
    systems: Sequence[System], requests: Sequence[Request], conditions: Conditions, say: Callable[[str], None]
) -> Runs:
    """Run the systems one after the other. Raises BenchmarkFailed if this project's run fails."""
    runs = Runs([], [])
    for system in systems:
        say(system.title)
        try:
            runs.done.append(run(system, requests, conditions))
        except BenchmarkFailed as failure:
            if system is SCALEOUT:
                raise
            # What it lacks is told, and the others are measured all the same.
            runs.failed.append(f"Left out, because it did not come to its end: {failure}.")
            say(runs.failed[-1])
    return runs


def run(system: System, requests: Sequence[Request], conditions: Conditions) -> Run:
    """Raises BenchmarkFailed if not every request ends, and ends well, in time."""
    with environment(conditions) as here, here.running(system, len(requests)) as running:
        meter, load = RedisMeter(here.server), here.load_meter(running)
        before, simulator_before = cpu_s(running.processes), here.provider.process.cpu_s()
        began_at = time.time()
        sent_at = send_all(running, requests, conditions.per_s)
        here.wait_for(system, len(requests), running)
        return Run(
            system=system,
            began_at=began_at,
            cpu_s=cpu_s(running.processes) - before,
            peak_mb=sum(process.peak_mb() for process in running.processes),
            simulator_cpu_s=here.provider.process.cpu_s() - simulator_before,
            others_percent=load.others_percent(),
            redis=meter.read(),
            sent_at=sent_at,
            outcomes=read_outcomes(here.server, system),
            arrivals=here.provider.arrivals(),
            jobs=here.provider.jobs(),
        )
