"""The same polling with ten, a hundred times as many operations: how cost and delay grow."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contenders import ARQ, CELERY_RETRY, SCALEOUT, System
from benchmarks.environment import Conditions, cpu_s, environment, requests_on_clusters, send_all, until
from benchmarks.options import Options
from benchmarks.outcomes import delays_s, read_outcomes
from benchmarks.percentiles import Spread, spread
from benchmarks.redis_stats import RedisMeter
from benchmarks.report import Cell, Lines, Report, Table, Target, at_most, machine, now_text, paragraphs

SIZES, QUICK_SIZES = (100, 1_000, 10_000), (100, 500)
OTHERS = (CELERY_RETRY, ARQ)
OTHERS_SIZES, QUICK_OTHERS_SIZES = (1_000,), (100,)
POLL_S = 1.0
STEADY_S = 5.0
ENDS_WITHIN_S = (1.0, 6.0)
PROBES = 100
FOREVER_S = 1_000_000
MOST_MB = {1_000: 120.0, 10_000: 250.0}


@dataclass(frozen=True, slots=True)
class Grown:
    """One system with `size` operations running. Rates are a second, while all of them run."""

    system: System
    size: int
    submitted_per_s: float
    submit_cpu_ms: float
    cpu_percent: float
    calls_per_s: float
    commands_per_s: float
    peak_mb: float
    delay: Spread
    others_percent: float


def measure(options: Options) -> Report:
    sizes = (options.size,) if options.size else QUICK_SIZES if options.quick else SIZES
    others_sizes = QUICK_OTHERS_SIZES if options.quick else OTHERS_SIZES
    grown = []
    for system in options.chosen((SCALEOUT, *OTHERS)):
        for size in sizes if system is SCALEOUT else others_sizes:
            options.say(f"growth: {size} operations, {system.title}")
            grown.append(_grow(system, size))
    return Report(
        name="growth",
        title="How it grows with the operations that run",
        conditions=paragraphs(f"""
        One node a request, each on a cluster of its own; poll interval {POLL_S:g} s; no quota; one worker.
        All are submitted first; then, while all of them run, cost is measured for {STEADY_S:g} s; then up to
        {PROBES} of them end within {ENDS_WITHIN_S[1] - ENDS_WITHIN_S[0]:g} s,
        for the delay, while the others go on.

        CPU while they run is in percent of one core. Polling 10,000 jobs one by one would take 10,000 calls
        a second, which no worker here and no simulator can make.
        """),
        tables=[_table(grown)],
        targets=_targets(grown),
        lines=[
            Lines("Worker CPU while they run", "operations", "% of a core", _lines(grown, "cpu_percent")),
            Lines("Peak memory", "operations", "MB", _lines(grown, "peak_mb")),
            Lines("Calls a second while they run", "operations", "calls/s", _lines(grown, "calls_per_s")),
        ],
        measured_at=now_text(),
        machine=machine(),
    )


def _grow(system: System, size: int) -> Grown:
    conditions = Conditions(POLL_S, {"job_duration_s": FOREVER_S}, within_s=120 + size / 10)
    with environment(conditions) as here, here.running(system, size) as running:
        load, provider = here.load_meter(running), here.provider
        before, began = cpu_s(running.processes), time.monotonic()
        send_all(running, requests_on_clusters(size))
        until(provider.job_count, size, f"{system.title}: jobs", running.processes, conditions.within_s)
        submit_s, submit_cpu_s = time.monotonic() - began, cpu_s(running.processes) - before
        time.sleep(2 * POLL_S)
        meter, calls = RedisMeter(here.server), len(provider.arrivals())
        before, began = cpu_s(running.processes), time.monotonic()
        time.sleep(STEADY_S)
        steady_s, steady_cpu_s = time.monotonic() - began, cpu_s(running.processes) - before
        commands, calls = meter.read().total, len(provider.arrivals()) - calls
        ended = provider.end_jobs(*ENDS_WITHIN_S, min(PROBES, size))
        here.wait_for(system, ended, running)
        return Grown(
            system=system,
            size=size,
            submitted_per_s=size / submit_s,
            submit_cpu_ms=1000 * submit_cpu_s / size,
            cpu_percent=100 * steady_cpu_s / steady_s,
            calls_per_s=calls / steady_s,
            commands_per_s=commands / steady_s,
            peak_mb=sum(process.peak_mb() for process in running.processes),
            delay=spread(delays_s(read_outcomes(here.server, system), provider.jobs())),
            others_percent=load.others_percent(),
        )


def _table(grown: Sequence[Grown]) -> Table:
    columns = [
        "",
        "operations",
        "submitted/s",
        "CPU ms to submit one",
        "CPU % while they run",
        "calls/s while they run",
        "Redis commands/s",
        "peak MB",
        "delay p50 s",
        "delay p99 s",
        "machine used by others %",
    ]
    rows: list[list[Cell]] = [
        [
            g.system.title,
            g.size,
            g.submitted_per_s,
            g.submit_cpu_ms,
            g.cpu_percent,
            g.calls_per_s,
            g.commands_per_s,
            g.peak_mb,
            g.delay.p50,
            g.delay.p99,
            g.others_percent,
        ]
        for g in grown
    ]
    return Table("By number of running operations", columns, rows)


def _lines(grown: Sequence[Grown], figure: str) -> dict[str, list[list[float]]]:
    lines: dict[str, list[list[float]]] = {}
    for g in grown:
        lines.setdefault(g.system.title, []).append([float(g.size), float(getattr(g, figure))])
    return lines


def _targets(grown: Sequence[Grown]) -> list[Target]:
    return [
        at_most(f"memory with {g.size:,} operations", MOST_MB[g.size], g.peak_mb, " MB")
        for g in grown
        if g.system is SCALEOUT and g.size in MOST_MB
    ]
