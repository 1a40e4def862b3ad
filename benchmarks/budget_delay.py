"""How late the ends of jobs are known when all calls come out of the quota."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from benchmarks.budget_lower_bound import PAGE, Ended, limit_s
from benchmarks.contenders import SCALEOUT
from benchmarks.environment import Conditions, Environment, environment, requests_on_clusters, send_all, until
from benchmarks.options import Options
from benchmarks.outcomes import read_outcomes
from benchmarks.percentiles import max_in_a_window, spread
from benchmarks.prefill_quota import fill_window
from benchmarks.provider import NO_QUOTA, ZONE, Arrival
from tasks.ledger.keys import Keys
from tasks.quota.poll_interval import interval_s
from tasks.quota.priorities import CallPriority, PollingBudget

CALLS, PERIOD_S, POLL_S = 2_000, 3_600.0, 5.0
SPEED_UP = 5.0
MAX_POLLING_CALLS = int(CALLS * CallPriority.POLL.value)
PROBES = 100
POLLS = 3
SETTLE_S = 2.0
FOREVER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Polled:
    """`size` operations under the quota; times in seconds, as they would be if nothing were sped up."""

    size: int
    mean_s: float
    p99_s: float
    limit_s: float
    calls_an_hour: float
    max_calls: int

    @property
    def part(self) -> float:
        return self.mean_s / self.limit_s


def settings(speed_up: float, calls: int, period_s: float) -> Mapping[str, object]:
    """This project's, with every time of the defaults sped up; a tick cannot be under 0.05 s."""
    return {
        "QUOTA_CALLS": calls,
        "QUOTA_PERIOD_S": period_s,
        "TICK_S": max(0.05, 1 / speed_up),
        "COALESCE_WINDOW_S": 1 / speed_up,
        "RETRY_BACKOFF_S": 5 / speed_up,
    }


def measure_s(size: int, at_least_s: float) -> float:
    """For how long jobs end: whole polls, for what ends just after one waits longest."""
    pages = math.ceil(size / PAGE)
    polling = PollingBudget(others=0, calls_per_poll=pages, limit=CALLS, window_s=PERIOD_S)
    interval = interval_s(POLL_S, polling)
    return interval * max(POLLS, math.ceil(at_least_s / interval))


def poll_within(options: Options, sizes: Sequence[int], at_least_s: float) -> list[Polled]:
    """For each of the growing `sizes`, the delay of jobs that end within `at_least_s` or a few polls."""
    polled, submitted = [], 0
    with environment(Conditions(POLL_S / SPEED_UP, {"job_duration_s": FOREVER_S})) as here:
        for size in sizes:
            options.say(f"budget: {size} operations within the quota, {SCALEOUT.title}")
            here.provider.set_quota(NO_QUOTA, PERIOD_S)
            missing = size - _running(here.server)
            with here.running(SCALEOUT, size) as running:
                send_all(running, requests_on_clusters(missing, submitted))
                submitted += missing
                what = "running operations"
                until(lambda: _running(here.server), size, what, running.processes, 60 + size / 5)
            polled.append(_measure(here, size, measure_s(size, at_least_s) / SPEED_UP))
    return polled


def _measure(here: Environment, size: int, within_s: float) -> Polled:
    period_s = PERIOD_S / SPEED_UP
    known = int(here.server.xlen(SCALEOUT.stream))
    # Hours of polling these by themselves: a page for each hundred, every interval, or all that it may use.
    wanted = math.ceil(size / PAGE) * PERIOD_S / POLL_S
    used = round(min(wanted, MAX_POLLING_CALLS))
    fill_window(here.server, here.provider, CALLS, period_s, used)
    within = Conditions(POLL_S / SPEED_UP, {}, settings=settings(SPEED_UP, CALLS, period_s))
    began = time.time()
    with here.running(SCALEOUT, size, within) as running:
        time.sleep(SETTLE_S)
        count = here.provider.end_jobs(0.5, 0.5 + within_s, min(PROBES, size))
        late_s = 5 * size / PAGE * period_s / CALLS + 30
        until(
            lambda: int(here.server.xlen(SCALEOUT.stream)),
            known + count,
            f"outcomes of {size} operations",
            running.processes,
            within_s + late_s,
        )
        arrivals = [arrival for arrival in here.provider.arrivals() if arrival.at >= began]
    jobs = here.provider.jobs()
    ends = [
        Ended(jobs[job_id].ends_at, outcome.at)
        for outcome in read_outcomes(here.server, SCALEOUT)[known:]
        for job_id in outcome.job_ids
    ]
    delays = spread([end.known_at - end.at for end in ends])
    limit = limit_s(ends, size, POLL_S / SPEED_UP, MAX_POLLING_CALLS, period_s, _not_polling(arrivals))
    span_s = arrivals[-1].at - arrivals[0].at
    return Polled(
        size=size,
        mean_s=delays.mean * SPEED_UP,
        p99_s=delays.p99 * SPEED_UP,
        limit_s=limit * SPEED_UP,
        # The last poll's calls belong to the interval after it.
        calls_an_hour=(len(arrivals) - math.ceil(size / PAGE)) / span_s / SPEED_UP * PERIOD_S,
        max_calls=max_in_a_window([arrival.at for arrival in arrivals], period_s),
    )


def _not_polling(arrivals: Sequence[Arrival]) -> list[float]:
    return [arrival.at for arrival in arrivals if arrival.what not in ("operation", "operation?job_ids")]


def _running(server: redis.Redis) -> int:
    return int(server.zcard(Keys("scaleout").running(ZONE)))
