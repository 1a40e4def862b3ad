"""Hundreds of running jobs: the cost of polling them, and how soon their ends are known."""

import math
from collections.abc import Mapping, Sequence

from benchmarks.comparison import Figure, side_by_side, the_run
from benchmarks.contenders import CONTENDERS
from benchmarks.environment import Conditions, requests_on_clusters
from benchmarks.options import Options
from benchmarks.report import Bars, Report, Target, at_most, machine, now_text, paragraphs
from benchmarks.run import Run, run_each

SIZE, QUICK_SIZE = 500, 100
POLL_S = 1.0
JOBS_S = "19-21"
QUICK_JOBS_S = "9-11"
PAGE = 100

FIGURES: Mapping[str, Figure] = {
    "polling calls": lambda run: run.polling_calls,
    "API calls": lambda run: run.calls(),
    "worker CPU s": lambda run: run.cpu_s,
    "peak MB": lambda run: run.peak_mb,
    "Redis commands": lambda run: run.redis.total,
    "Redis round trips": lambda run: run.redis.round_trips,
    "Redis CPU s": lambda run: run.redis.cpu_s,
    "broker messages": lambda run: run.messages,
    "delay p50 s": lambda run: run.delay().p50,
    "delay p99 s": lambda run: run.delay().p99,
    "machine used by others %": lambda run: run.others_percent,
}


def measure(options: Options) -> Report:
    size = options.size or (QUICK_SIZE if options.quick else SIZE)
    jobs_s = QUICK_JOBS_S if options.quick else JOBS_S
    conditions = Conditions(POLL_S, {"job_duration_s": jobs_s}, within_s=120 + size / 10)
    each = run_each(
        options.chosen(CONTENDERS),
        requests_on_clusters(size),
        conditions,
        lambda text: options.say(f"polling: {size} operations, {text}"),
    )
    runs = each.done
    cpu = {run.system.title: run.cpu_s for run in runs}
    return Report(
        name="polling",
        title=f"Polling {size} operations on {size} clusters",
        conditions=paragraphs(f"""
        {size} requests of one node, each on a cluster of its own, all at once; jobs of {jobs_s} s, so that
        ends fall anywhere between two polls; poll interval {POLL_S:g} s; no quota.

        CPU and Redis figures are from the first request to the last outcome: submitting is in them, the
        start of the worker is not.

        This project lists a cluster's jobs before it sends, so it makes two calls to add nodes where the
        others make one. That is the price of never buying twice, and is in `API calls`.

        Broker messages: of Celery, LPUSH; of arq, ZADD. Redis commands: those inside scripts too.
        """)
        + each.failed,
        tables=side_by_side(f"{size} operations", runs, FIGURES),
        targets=targets(runs, size),
        bars=[
            Bars("Worker CPU", "s", cpu),
            Bars("API polling calls", "calls", {r.system.title: float(r.polling_calls) for r in runs}),
        ],
        measured_at=now_text(),
        machine=machine(),
    )


def targets(runs: Sequence[Run], size: int) -> list[Target]:
    """Those that this project's run, and the others' where they took part, can tell."""
    ours = the_run(runs, "scaleout")
    if ours is None:
        return []
    sweep_messages = ours.messages - size
    found = [
        at_most("polling calls / (pages × sweeps)", 1.3, ours.polling_calls / fewest_calls(ours)),
        Target(
            "broker messages a request, without the shared sweeps",
            "≤ 2",
            f"{(ours.messages - sweep_messages) / size:.3g}, and {sweep_messages} sweeps in all",
            # Whatever is not a request is a sweep; those must not grow with the requests.
            sweep_messages <= 3 * ours.elapsed_s + 10,
        ),
        at_most("delay p99", POLL_S + 0.5, ours.delay().p99, " s"),
    ]
    if polls := the_run(runs, "asyncio"):
        part = ours.polling_calls / polls.polling_calls
        text = f"1/{1 / part:.0f} of polling calls, 1/{polls.calls() / ours.calls():.1f} of all calls"
        found.insert(0, Target("API calls, of polling each job", "≤ 1/50", text, part <= 1 / 50))
    for name, title, part in (("celery-retry", "Celery retry", 1 / 5), ("arq", "arq", 1 / 2)):
        if other := the_run(runs, name):
            found.append(at_most(f"worker CPU, of {title}", part, ours.cpu_s / other.cpu_s))
    return found


def fewest_calls(run: Run) -> int:
    """Pages times sweeps: one sweep an interval while jobs run, a page for each hundred that run then."""
    known = {job_id: outcome.at for outcome in run.outcomes for job_id in outcome.job_ids}
    spans = [(job.created_at, known[job_id]) for job_id, job in run.jobs.items() if job_id in known]
    at, end, calls = min(begin for begin, _ in spans), max(end for _, end in spans), 0
    while at < end:
        at += POLL_S
        running = sum(begin < at <= end for begin, end in spans)
        calls += max(1, math.ceil(running / PAGE))
    return max(calls, 1)
