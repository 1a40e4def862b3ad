"""What a request takes of the server's memory: while its job runs, and once it has ended."""

import time
from dataclasses import dataclass

import redis

from benchmarks.contenders import SCALEOUT, Request
from benchmarks.environment import Conditions, Environment, environment, requests_on_clusters, send_all, until
from benchmarks.options import Options
from benchmarks.report import Report, Table, machine, now_text, paragraphs

SIZE, QUICK_SIZE = 5_000, 300
POLL_S = 1.0
FOREVER_S = 1_000_000
ENDS_WITHIN_S = (0.5, 5.5)
SETTLE_S = 3.0
# They do not grow with requests, or only with those of the last minutes or of one period.
BOUNDED = ("answered", "answers", "steps", "journal", "quota:*")
JOBS = "job:*"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of the server."""

    running: float
    ended: float
    cluster: float
    job: float


def measure(options: Options) -> Report:
    size = options.size or (QUICK_SIZE if options.quick else SIZE)
    options.say(f"memory: {size} requests, twice, {SCALEOUT.title}")
    found = _measure(size)
    return Report(
        name="memory",
        title="Memory of the server",
        conditions=paragraphs(f"""
        {size:,} requests of one node, each with an operation of its own on a cluster of its own. All run at
        once; then all end; then as many more on the same clusters. The server's `used_memory`, less the keys
        that do not grow with requests ({", ".join(BOUNDED)}).

        What a request leaves has its records, history, outcome, Celery's result and the entries in streams
        and indexes. After 7 days, or `SCALEOUT_OUTCOME_TTL_S` if that is longer, all of it goes but the job's
        owner, which stays for 90 days.
        """),
        tables=[
            Table(
                "Bytes of the server's memory",
                ["", "bytes"],
                [
                    ["a request whose job runs, with its operation", round(found.running)],
                    ["a request that has ended, with its operation", round(found.ended)],
                    ["the job's owner, for 90 days", round(found.job)],
                    ["a cluster", round(found.cluster)],
                ],
            )
        ],
        targets=[],
        measured_at=now_text(),
        machine=machine(),
    )


def _measure(size: int) -> Memory:
    conditions = Conditions(POLL_S, {"job_duration_s": FOREVER_S}, within_s=120 + size / 10)
    first = requests_on_clusters(size)
    again = [Request(f"again-{number:05}", request.cluster_id) for number, request in enumerate(first)]
    with environment(conditions) as here:
        before = _used(here.server)
        running = _run(here, first, ended=0)
        once = _used(here.server)
        _run(here, again, ended=size)
        twice = _used(here.server)
        ended = (twice - once) / size
        cluster = (once - before) / size - ended
        return Memory(
            running=(running - before) / size - cluster,
            ended=ended,
            cluster=cluster,
            job=_usage(here.server, f"{SCALEOUT.name}:{JOBS}") / (2 * size),
        )


def _run(here: Environment, requests: list[Request], *, ended: int) -> int:
    """Let requests run and end; return what the server had used while all of them ran."""
    size = len(requests)
    with here.running(SCALEOUT, size) as running:
        send_all(running, requests)
        jobs = ended + size
        until(here.provider.job_count, jobs, "jobs", running.processes, here.conditions.within_s)
        time.sleep(SETTLE_S)
        used = _used(here.server)
        here.provider.end_jobs(*ENDS_WITHIN_S, size)
        here.wait_for(SCALEOUT, jobs, running)
        time.sleep(SETTLE_S)
    return used


def _used(server: redis.Redis) -> int:
    bounded = sum(_usage(server, f"{SCALEOUT.name}:{name}") for name in BOUNDED)
    return int(server.info("memory")["used_memory"]) - bounded


def _usage(server: redis.Redis, pattern: str) -> int:
    keys = list(server.scan_iter(pattern, count=1_000))
    return sum(int(server.memory_usage(key, samples=0) or 0) for key in keys)
