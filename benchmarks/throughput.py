"""Many requests at once whose jobs end at once: how many a second go through, and how soon each is sent."""

from collections.abc import Mapping, Sequence

from benchmarks.comparison import Figure, side_by_side, the_run
from benchmarks.contenders import CONTENDERS, ONE_CALL, SCALEOUT, System
from benchmarks.environment import Conditions, requests_on_clusters
from benchmarks.options import Options
from benchmarks.report import (
    Bars,
    Cell,
    Report,
    Table,
    Target,
    at_least,
    at_most,
    machine,
    now_text,
    paragraphs,
)
from benchmarks.run import Run, Runs, run, run_each

SIZE, QUICK_SIZE = 2_000, 300
POLL_S = 1.0
LATENCY_S = 0.02
STEADY_PER_S = 20.0
STEADY, QUICK_STEADY = 300, 100
PROVIDER = {"job_duration_s": "0", "log_lag_s": 0, "latency_s": LATENCY_S}

FIGURES: Mapping[str, Figure] = {
    "requests/s": lambda run: per_s(run),
    "s in all": lambda run: run.elapsed_s,
    "to the wire p50 s": lambda run: run.to_the_wire().p50,
    "to the wire p99 s": lambda run: run.to_the_wire().p99,
    "worker CPU ms/request": lambda run: 1000 * run.cpu_s / len(run.outcomes),
    "Redis commands/request": lambda run: run.redis.total / len(run.outcomes),
    "Redis round trips/request": lambda run: run.redis.round_trips / len(run.outcomes),
    "simulator busy %": lambda run: 100 * run.simulator_cpu_s / run.elapsed_s,
    "machine used by others %": lambda run: run.others_percent,
}
TWO_WORKERS = ("scaleout", "celery-one-call")


def per_s(run: Run) -> float:
    return len(run.outcomes) / run.elapsed_s


def measure(options: Options) -> Report:
    size = options.size or (QUICK_SIZE if options.quick else SIZE)
    systems = options.chosen((*CONTENDERS, ONE_CALL))
    each = _run_all(options, systems, size, workers=1)
    each_of_two = _run_all(options, [s for s in systems if s.name in TWO_WORKERS], size, workers=2)
    one, two = each.done, each_of_two.done
    steady = _run_steadily(options) if SCALEOUT in systems else None
    tables = side_by_side(f"{size} requests, one worker", one, FIGURES)
    tables += side_by_side(f"{size} requests, two workers", two, FIGURES)
    if steady is not None:
        tables.append(_steady_table(steady))
    return Report(
        name="throughput",
        title=f"Throughput: {size} one-node requests on {size} clusters",
        conditions=paragraphs(f"""
        Jobs end at once, the API takes {1000 * LATENCY_S:g} ms for each call, poll interval {POLL_S:g} s;
        from the first enqueueing to the last outcome.

        `{ONE_CALL.title}` makes the addNodes call and nothing else: what a bare Celery task with one HTTP
        call can do. This project makes two calls a request, writes every step and polls the job.
        To the wire: from the enqueueing of a request to its addNodes.

        Steady: {STEADY_PER_S:g} requests a second, coalescing window 0, all else as it is by default.
        """)
        + each.failed
        + each_of_two.failed,
        tables=tables,
        targets=targets(one, steady),
        bars=[Bars("Requests a second, one worker", "/s", {r.system.title: per_s(r) for r in one})],
        measured_at=now_text(),
        machine=machine(),
    )


def _run_all(options: Options, systems: Sequence[System], size: int, *, workers: int) -> Runs:
    conditions = Conditions(POLL_S, PROVIDER, workers=workers, within_s=120 + size / 10)
    return run_each(
        systems,
        requests_on_clusters(size),
        conditions,
        lambda text: options.say(f"throughput: {size} requests, {workers} worker(s), {text}"),
    )


def _run_steadily(options: Options) -> Run:
    count = QUICK_STEADY if options.quick else STEADY
    options.say(f"throughput: {count} requests at {STEADY_PER_S:g} a second, {SCALEOUT.title}")
    conditions = Conditions(POLL_S, PROVIDER, per_s=STEADY_PER_S, settings={"COALESCE_WINDOW_S": 0})
    return run(SCALEOUT, requests_on_clusters(count), conditions)


def _steady_table(steady: Run) -> Table:
    wire = steady.to_the_wire()
    row: list[Cell] = [steady.system.title, 1000 * wire.p50, 1000 * wire.p99, 1000 * wire.most]
    columns = ["", "to the wire p50 ms", "p99 ms", "most ms"]
    return Table(f"{len(steady.outcomes)} requests at {STEADY_PER_S:g}/s", columns, [row])


def targets(one: Sequence[Run], steady: Run | None) -> list[Target]:
    found = []
    ours, bare = the_run(one, "scaleout"), the_run(one, "celery-one-call")
    if ours is not None and bare is not None:
        found.append(at_least("requests/s, of Celery with one call a task", 0.5, per_s(ours) / per_s(bare)))
    if steady is not None:
        wire = steady.to_the_wire()
        found.append(at_most("to the wire at 20/s, p50", 60, 1000 * wire.p50, " ms"))
        found.append(at_most("to the wire at 20/s, p99", 250, 1000 * wire.p99, " ms"))
    return found
