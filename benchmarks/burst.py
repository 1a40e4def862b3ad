"""Many small requests for one cluster, which can be changed by one job at a time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.comparison import the_run
from benchmarks.contenders import CONTENDERS, SCALEOUT, Request, System
from benchmarks.environment import Conditions
from benchmarks.options import Options
from benchmarks.report import (
    Bars,
    Cell,
    Report,
    Table,
    Target,
    at_least,
    machine,
    now_text,
    paragraphs,
    ratio,
)
from benchmarks.run import Run, run

SIZE, QUICK_SIZE = 60, 30
NODES = 2
JOB_S, QUICK_JOB_S = 20.0, 4.0
POLL_S = 1.0
SPEED_UP = 5.0
SAMPLE, QUICK_SAMPLE = 8, 3


def measure(options: Options) -> Report:
    size = options.size or (QUICK_SIZE if options.quick else SIZE)
    job_s = QUICK_JOB_S if options.quick else JOB_S
    sample = min(size, QUICK_SAMPLE if options.quick else SAMPLE)
    systems = options.chosen(CONTENDERS)
    options.say(
        f"burst: {size} requests on one cluster; {sample} of the alternatives, sped up {SPEED_UP:g} times"
    )

    def one(system: System) -> Run:
        if system is SCALEOUT:
            return _run(system, size, job_s, POLL_S)
        return _run(system, sample, job_s / SPEED_UP, POLL_S / SPEED_UP)

    # They do little but wait, each at a provider and a server of its own.
    with ThreadPoolExecutor(max(1, len(systems))) as pool:
        runs = list(pool.map(one, systems))
    seconds = {r.system.name: _seconds(r, size) for r in runs}
    return Report(
        name="burst",
        title=f"A burst of {size} requests for {NODES} nodes each on one cluster",
        conditions=paragraphs(f"""
        Jobs of {job_s:g} s, one change of the cluster at a time, poll interval {POLL_S:g} s; until the last
        request has its nodes.

        This project's run is at full scale, with its default settings. The alternatives make one call a
        request, one after the other: {sample} requests were measured, sped up {SPEED_UP:g} times, and the
        time and the calls taken by proportion for {size}. No way of making one call a request can be
        faster than {size} × {job_s:g} s = {size * job_s:,.0f} s.
        """),
        tables=_tables(runs, seconds, size),
        targets=_targets(runs, seconds, size, job_s),
        bars=[
            Bars("Until all have their nodes", "s", {r.system.title: seconds[r.system.name] for r in runs})
        ],
        measured_at=now_text(),
        machine=machine(),
    )


def _run(system: System, count: int, job_s: float, poll_s: float) -> Run:
    provider = {"job_duration_s": f"{job_s:g}", "log_lag_s": 0}
    conditions = Conditions(poll_s, provider, within_s=60 + 3 * count * job_s)
    requests = [Request(f"burst-{n:03}", "ehpc-burst", NODES) for n in range(count)]
    return run(system, requests, conditions)


def _seconds(one: Run, size: int) -> float:
    """For all `size` requests at full scale."""
    if one.system is SCALEOUT:
        return one.elapsed_s
    return one.elapsed_s * SPEED_UP * size / len(one.outcomes)


def _calls(one: Run, size: int) -> float:
    return one.calls() * size / len(one.outcomes)


def _tables(runs: Sequence[Run], seconds: dict[str, float], size: int) -> list[Table]:
    ours = the_run(runs, SCALEOUT.name)
    rows: list[list[Cell]] = []
    for one in runs:
        times = seconds[one.system.name]
        row: list[Cell] = [
            one.system.title,
            times,
            _calls(one, size),
            size if one is not ours else len(one.jobs),
        ]
        if ours is not None:
            row += [ratio(times, seconds[SCALEOUT.name]), ratio(_calls(one, size), _calls(ours, size))]
        rows.append(row)
    columns = ["", "s until all have their nodes", "API calls", "jobs"]
    if ours is not None:
        columns += [f"time, times {SCALEOUT.title}", "calls"]
    return [Table(f"{size} requests on one cluster", columns, rows)]


def _targets(runs: Sequence[Run], seconds: dict[str, float], size: int, job_s: float) -> list[Target]:
    if the_run(runs, SCALEOUT.name) is None:
        return []
    sooner = size * job_s / seconds[SCALEOUT.name]
    figure = "sooner than one call a request can be at all"
    if (size, job_s) != (SIZE, JOB_S):
        return [Target(figure, "≥ 15 ×", f"{sooner:.3g} ×", None)]
    return [at_least(figure, 15, sooner, " ×")]
