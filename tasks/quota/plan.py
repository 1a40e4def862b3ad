"""PURE: what a load takes of an account's API calls, of the server's memory and of workers.

It asks the functions that the workers use, so that a plan and what runs cannot differ.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from tasks.contract.request import MAX_NODES_PER_OPERATION
from tasks.ehpc.actions import PAGE
from tasks.ehpc.paging import pages_of
from tasks.quota.poll_interval import CALLS_PER_SUBMISSION, interval_s
from tasks.quota.priorities import CallPriority, PollingBudget, max_calls, max_calls_except_polling

HOUR_S = 3_600
JOB_OWNER_KEPT_S = 90 * 86_400
MAX = 1_000_000
# Measured, and rounded up: docs/performance.md, sections Memory of Redis, Throughput and Growth.
RUNNING_BYTES = 4_000
ENDED_BYTES = 6_000
CLUSTER_BYTES = 2_000
JOB_OWNER_BYTES = 80
REQUEST_CPU_MS = 5.0
PAGE_CPU_MS = 1.6
IDLE_CPU = 0.005  # of a core
MAX_CPU = 0.5  # a worker that is busier than this lets a burst of requests wait


class Load(BaseModel):
    """What is wanted of an account."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jobs: int = Field(ge=1, le=MAX, description="jobs in an hour; each is one addNodes call")
    clusters: int = Field(ge=1, le=MAX, description="clusters that they are spread over; each runs one")
    zones: int = Field(1, ge=1, le=MAX, description="zones of these clusters")
    nodes: int = Field(1, ge=1, le=MAX_NODES_PER_OPERATION, description="nodes of a job")
    requests: int = Field(1, ge=1, le=MAX_NODES_PER_OPERATION, description="requests that share a job")
    job_duration: float = Field(ge=1, le=7 * 86_400, description="how long a job lasts, in seconds")

    @field_validator("zones")
    @classmethod
    def _have_clusters(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("clusters", value):
            raise ValueError("must not be more than the clusters")
        return value

    @field_validator("requests")
    @classmethod
    def _have_nodes(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("nodes", value):
            raise ValueError("must not be more than the nodes of a job")
        return value


@dataclass(frozen=True, slots=True)
class Account:
    """The settings that a plan depends on. `kept_s`: how long what has ended is kept."""

    limit: int
    window_s: float
    poll_interval_s: float
    kept_s: float


@dataclass(frozen=True, slots=True)
class Polling:
    """How jobs that run are polled. `calls`: of a window."""

    interval_s: float
    calls: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load takes and gets. Calls, jobs, nodes and requests are those of an hour.

    Fields:
        limited_by: what does not suffice for the load: `quota`, `clusters`, or both.
        running: jobs that run at once, on average.
        mean_delay_s, worst_delay_s: from a job's end to its outcome; the worst if all jobs come at once.
        redis_bytes: of requests, operations and clusters once the load has lasted for 90 days.
        worker_cpu: of one core.
    """

    limited_by: tuple[str, ...]
    running: int
    poll_interval_s: float
    polling_calls: float
    max_submission_calls: float
    submission_calls: float
    left_calls: float
    mean_delay_s: float
    worst_delay_s: float
    max_jobs: int
    max_nodes: int
    max_requests: int
    redis_bytes: int
    worker_cpu: float
    workers: int


def poll(
    account: Account,
    *,
    running: int,
    zones: int = 1,
    submission_calls: int = 0,
    submissions_wait: bool = False,
) -> Polling:
    """Return how `running` jobs, spread evenly over `zones`, are polled beside the calls of submissions."""
    pages = _pages(running, zones)
    budget = PollingBudget(submission_calls, pages, account.limit, account.window_s)
    interval = interval_s(account.poll_interval_s, budget, submissions_wait=submissions_wait)
    # A poll of more pages than it is granted resumes where it stopped.
    granted = max(max_calls(CallPriority.POLL, account.limit) - submission_calls, 1)
    interval = max(interval, pages * account.window_s / granted)
    return Polling(interval, pages * account.window_s / interval)


def max_submission_calls(account: Account, *, running: int, zones: int = 1) -> int:
    """Return how many calls of a window submissions get while polling needs its own."""
    polling = math.ceil(poll(account, running=running, zones=zones, submissions_wait=True).calls)
    shared = max_calls(CallPriority.SUBMIT, account.limit) - polling
    return max(0, min(max_calls_except_polling(CallPriority.SUBMIT, account.limit), shared))


def plan(load: Load, account: Account) -> Plan:
    """Return what `load` takes of an account with nothing else to do.

    Jobs that are too many wait. So calls, delays, memory and workers are those of the jobs that are served.
    """
    limited_by, max_jobs = _limits(load, account), _max_jobs(load, account)
    served = load.model_copy(update={"jobs": max(1, max_jobs)}) if limited_by else load
    running, hourly = _running(served, account), HOUR_S / account.window_s
    maximum = max_submission_calls(account, running=running, zones=load.zones)
    submitting = min(_submission_calls(served, account), maximum)
    polling = poll(
        account,
        running=running,
        zones=load.zones,
        submission_calls=submitting,
        submissions_wait="quota" in limited_by,
    )
    worst = poll(account, running=_peak(served), zones=load.zones, submissions_wait=True)
    cpu = IDLE_CPU + _cpu(served, polling, account)
    return Plan(
        limited_by=limited_by,
        running=running,
        poll_interval_s=polling.interval_s,
        polling_calls=polling.calls * hourly,
        max_submission_calls=maximum * hourly,
        submission_calls=submitting * hourly,
        left_calls=max(0.0, account.limit - polling.calls - submitting) * hourly,
        mean_delay_s=polling.interval_s / 2,
        worst_delay_s=max(worst.interval_s, polling.interval_s),
        max_jobs=max_jobs,
        max_nodes=max_jobs * load.nodes,
        max_requests=max_jobs * load.requests,
        redis_bytes=_redis_bytes(served, account, running),
        worker_cpu=cpu,
        workers=math.ceil(cpu / MAX_CPU),
    )


def _pages(running: int, zones: int) -> int:
    """Return the calls of one poll of all zones in which jobs run: each has pages of its own."""
    polled = min(zones, running)
    return polled * pages_of(pages_of(running, polled), PAGE)


def _submission_calls(load: Load, account: Account) -> int:
    return math.ceil(CALLS_PER_SUBMISSION * load.jobs * account.window_s / HOUR_S)


def _peak(load: Load) -> int:
    """Return how many jobs run at once if an hour's come together."""
    return min(load.clusters, math.ceil(load.jobs * (1 + load.job_duration / HOUR_S)))


def _running(load: Load, account: Account) -> int:
    """Return how many run at once if they come evenly. A job runs for us until a poll has shown its end."""
    slowest = poll(account, running=_peak(load), zones=load.zones, submissions_wait=True).interval_s
    return min(_peak(load), math.ceil(load.jobs * (load.job_duration + slowest / 2) / HOUR_S))


def _limits(load: Load, account: Account) -> tuple[str, ...]:
    """Return what does not suffice for a load."""
    running, wanted = _running(load, account), _submission_calls(load, account)
    maximum = max_submission_calls(account, running=running, zones=load.zones)
    polling = poll(
        account,
        running=running,
        zones=load.zones,
        submission_calls=min(wanted, maximum),
        submissions_wait=wanted > maximum,
    )
    # A cluster's next job is sent once the end of the one before is known.
    cycle_s = load.job_duration + polling.interval_s / 2
    limits = {"quota": wanted > maximum, "clusters": load.jobs * cycle_s > load.clusters * HOUR_S}
    return tuple(name for name, lacks in limits.items() if lacks)


def _max_jobs(load: Load, account: Account) -> int:
    """Return how many such jobs an hour the account and the clusters can serve at most."""
    most = math.ceil(account.limit * HOUR_S / account.window_s / CALLS_PER_SUBMISSION)
    jobs = range(1, most + 1)
    return bisect_left(
        jobs, True, key=lambda number: bool(_limits(load.model_copy(update={"jobs": number}), account))
    )


def _cpu(load: Load, polling: Polling, account: Account) -> float:
    requests_s = load.jobs * load.requests / HOUR_S
    pages_s = polling.calls / account.window_s
    return (requests_s * REQUEST_CPU_MS + pages_s * PAGE_CPU_MS) / 1000


def _redis_bytes(load: Load, account: Account, running: int) -> int:
    requests = load.jobs * load.requests
    ended = requests * account.kept_s / HOUR_S
    owners = load.jobs * JOB_OWNER_KEPT_S / HOUR_S
    # Requests that share a job share its operation: a little less than each with one of its own.
    return round(
        ended * ENDED_BYTES
        + owners * JOB_OWNER_BYTES
        + running * load.requests * RUNNING_BYTES
        + load.clusters * CLUSTER_BYTES
    )
