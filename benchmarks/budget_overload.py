"""More work than the quota allows: four workers of ours within it, and when each alternative runs into it."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.budget_delay import CALLS, FOREVER_S, PERIOD_S, POLL_S, settings
from benchmarks.contenders import SCALEOUT, System
from benchmarks.environment import Conditions, environment, requests_on_clusters, send_all, until
from benchmarks.options import Options
from benchmarks.percentiles import max_in_a_window
from benchmarks.provider import Arrival, Provider

WORKERS = 4
LOST_ANSWERS = 0.02
OTHERS_SIZE = 40
OTHERS_SPEED_UP = 10.0
OVER_QUOTA = 2500


@dataclass(frozen=True, slots=True)
class Crowd:
    """`size` requests at once, `calls` in `period_s`, watched for `periods` periods."""

    size: int
    calls: int
    period_s: float
    periods: float


CROWD, QUICK_CROWD = Crowd(2_200, CALLS, 20.0, 2.0), Crowd(600, 400, 8.0, 2.5)


@dataclass(frozen=True, slots=True)
class Crowded:
    """As the provider has counted."""

    crowd: Crowd
    max_calls: int
    refused: int
    used_percent: float


def crowd_workers(options: Options) -> Crowded:
    """Submitting, settling and polling all have more to do than the quota lets them."""
    crowd = QUICK_CROWD if options.quick else CROWD
    options.say(
        f"budget: {WORKERS} workers, {crowd.size} requests, {crowd.calls} calls in {crowd.period_s:g} s"
    )
    speed_up = PERIOD_S / crowd.period_s
    quota = {"quota_calls": crowd.calls, "quota_period_s": crowd.period_s}
    conditions = Conditions(
        POLL_S / speed_up,
        # So long that hundreds run, and polling alone would want three times the quota.
        {"job_duration_s": f"{crowd.period_s / 2:g}-{crowd.period_s:g}", **quota},
        workers=WORKERS,
        settings={**settings(speed_up, crowd.calls, crowd.period_s), "COALESCE_WINDOW_S": 0},
    )
    with environment(conditions) as here, here.running(SCALEOUT, crowd.size) as running:
        here.provider.lose_answers(LOST_ANSWERS)
        send_all(running, requests_on_clusters(crowd.size))
        first = _first_arrival(here.provider)
        time.sleep(max(0.0, first + crowd.periods * crowd.period_s - time.time()))
        for process in running.processes:
            process.check()
        arrivals = here.provider.arrivals()
    times = [arrival.at for arrival in arrivals]
    # The first period fills an empty window; from then on it is looked at whole.
    steps = int((crowd.periods - 1) * crowd.period_s)
    ends = [first + crowd.period_s + step for step in range(steps)]
    used = [sum(end - crowd.period_s < at <= end for at in times) for end in ends]
    return Crowded(
        crowd=crowd,
        max_calls=max_in_a_window(times, crowd.period_s),
        refused=sum(arrival.ret_code == OVER_QUOTA for arrival in arrivals),
        used_percent=100 * sum(used) / len(used) / crowd.calls,
    )


def until_used_up(options: Options, systems: Sequence[System]) -> list[tuple[System, float]]:
    """For each, how many seconds of the real clock it takes until a call is refused with 2500."""
    if not systems:
        return []
    options.say(f"budget: {OTHERS_SIZE} operations, {len(systems)} alternatives side by side")
    with ThreadPoolExecutor(len(systems)) as pool:
        return list(zip(systems, pool.map(_time_to_2500, systems), strict=True))


def _time_to_2500(system: System) -> float:
    quota = {"quota_calls": CALLS, "quota_period_s": PERIOD_S / OTHERS_SPEED_UP}
    conditions = Conditions(POLL_S / OTHERS_SPEED_UP, {"job_duration_s": FOREVER_S, **quota})
    with environment(conditions) as here, here.running(system, OTHERS_SIZE) as running:
        send_all(running, requests_on_clusters(OTHERS_SIZE))
        first = _first_arrival(here.provider)
        what = f"{system.title}: a 2500"
        until(lambda: len(_refused(here.provider)), 1, what, running.processes, 120)
        return (_refused(here.provider)[0].at - first) * OTHERS_SPEED_UP


def _first_arrival(provider: Provider) -> float:
    until(lambda: len(provider.arrivals()), 1, "a first call", [provider.process], 60)
    return provider.arrivals()[0].at


def _refused(provider: Provider) -> list[Arrival]:
    return [arrival for arrival in provider.arrivals() if arrival.ret_code == OVER_QUOTA]
