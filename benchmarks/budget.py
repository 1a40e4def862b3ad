"""The provider's real quota, with all clocks sped up: what can be polled within it, and how late."""

from collections.abc import Sequence

from benchmarks.budget_delay import (
    CALLS,
    MAX_POLLING_CALLS,
    PERIOD_S,
    POLL_S,
    POLLS,
    PROBES,
    SPEED_UP,
    Polled,
    poll_within,
)
from benchmarks.budget_overload import (
    OTHERS_SIZE,
    OTHERS_SPEED_UP,
    WORKERS,
    Crowded,
    crowd_workers,
    until_used_up,
)
from benchmarks.contenders import CONTENDERS, SCALEOUT, System
from benchmarks.options import Options
from benchmarks.report import (
    Cell,
    Lines,
    Report,
    Table,
    Target,
    at_least,
    at_most,
    machine,
    now_text,
    paragraphs,
)

SIZES, QUICK_SIZES = (100, 500, 2_000), (100, 300)
AT_LEAST_S, QUICK_AT_LEAST_S = 30.0, 15.0


def measure(options: Options) -> Report:
    sizes = (options.size,) if options.size else QUICK_SIZES if options.quick else SIZES
    systems = options.chosen(CONTENDERS)
    at_least_s = QUICK_AT_LEAST_S if options.quick else AT_LEAST_S
    ours = SCALEOUT in systems
    polled = poll_within(options, sizes, at_least_s) if ours else []
    crowded = crowd_workers(options) if ours else None
    used_up = until_used_up(options, [system for system in systems if system is not SCALEOUT])
    return Report(
        name="budget",
        title=f"LimitCheck {CALLS:,} calls an hour",
        conditions=paragraphs(f"""
        The quota of {CALLS:,} calls in {PERIOD_S:g} s and the poll interval of {POLL_S:g} s, with every
        clock sped up {SPEED_UP:g} times: period {PERIOD_S / SPEED_UP:g} s, poll interval
        {POLL_S / SPEED_UP:g} s, tick {1 / SPEED_UP:g} s. Times are given as they would be unscaled, so what
        a sweep costs by itself counts {SPEED_UP:g} times.

        The operations run, all submitted beforehand and outside the quota; the window holds what hours
        of polling just these leave in it, spread evenly over the last period. Then up to {PROBES} of the
        jobs end, spread evenly over {POLLS} polls or more.

        The physical limit of the mean delay is half of the larger of the poll interval and P·period/B: P
        pages of 100 jobs for those that run, B calls for polling, which are {MAX_POLLING_CALLS:,} of the
        quota less what all else takes.

        The clock of the alternatives is sped up {OTHERS_SPEED_UP:g} times.
        """),
        tables=[*_polled_table(polled), *_crowded_table(crowded), *_others_table(used_up)],
        targets=_targets(polled, crowded),
        lines=_plot(polled),
        measured_at=now_text(),
        machine=machine(),
    )


def _polled_table(polled: Sequence[Polled]) -> list[Table]:
    columns = [
        "operations",
        "mean delay s",
        "physical limit s",
        "mean / limit",
        "delay p99 s",
        "calls an hour while measured",
    ]
    rows: list[list[Cell]] = [
        [f.size, f.mean_s, f.limit_s, f"{f.part:.3g} ×", f.p99_s, f.calls_an_hour] for f in polled
    ]
    return [Table("ehpc-scaleout, delay from a job's end to its outcome", columns, rows)] if rows else []


def _crowded_table(crowded: Crowded | None) -> list[Table]:
    if crowded is None:
        return []
    columns = [
        "workers",
        "quota",
        "most calls in any window",
        "refused with 2500",
        "used of each whole window",
    ]
    row: list[Cell] = [
        WORKERS,
        crowded.crowd.calls,
        crowded.max_calls,
        crowded.refused,
        f"{crowded.used_percent:.1f} %",
    ]
    return [Table("More work of every class than the quota allows, as the provider counts", columns, [row])]


def _others_table(used_up: Sequence[tuple[System, float]]) -> list[Table]:
    if not used_up:
        return []
    most = int(CALLS * POLL_S / PERIOD_S)
    rows: list[list[Cell]] = [
        [system.title, f"after {seconds / 60:.1f} min", most] for system, seconds in used_up
    ]
    columns = ["", f"{OTHERS_SIZE} operations: first 2500", "jobs that it can poll without one"]
    return [Table(f"The alternatives, each job polled every {POLL_S:g} s", columns, rows)]


def _targets(polled: Sequence[Polled], crowded: Crowded | None) -> list[Target]:
    found = [at_most(f"mean delay / limit, {f.size:,} operations", 1.25, f.part, " ×") for f in polled]
    if crowded is not None:
        within = crowded.max_calls <= crowded.crowd.calls
        found.append(
            Target(
                f"calls in any window, {WORKERS} workers",
                f"≤ {crowded.crowd.calls:,}",
                f"{crowded.max_calls:,}",
                within,
            )
        )
        found.append(at_least("of the window used", 90, crowded.used_percent, " %"))
    return found


def _plot(polled: Sequence[Polled]) -> list[Lines]:
    if not polled:
        return []
    lines = {
        SCALEOUT.title: [[float(f.size), f.mean_s] for f in polled],
        "physical limit": [[float(f.size), f.limit_s] for f in polled],
    }
    return [Lines("Mean delay within the quota", "operations", "seconds", lines)]
