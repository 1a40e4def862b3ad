"""What many runs have been through: how often each thing went wrong, and what came of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.run import Report

COLUMNS = ("runs", "times", "lost", "twice", "held")


class Tally:
    """A row for each kind of fault: runs with it, how often it came, and what those runs lost, bought
    twice or had to hold. A run that breaks a promise is counted in every kind that was part of it."""

    def __init__(self) -> None:
        self._rows: dict[str, Counter[str]] = {}
        self._all: Counter[str] = Counter()
        self._events: Counter[str] = Counter()

    def add(self, report: Report) -> None:
        what = {"runs": 1, "lost": report.verdict.lost, "twice": report.verdict.twice, "held": report.held}
        for kind, times in report.faults.items():
            self._rows.setdefault(kind, Counter()).update(times=times, **what)
        self._all.update(
            times=report.faults.total(),
            requests=report.requests,
            nodes=report.nodes,
            resent=report.resent,
            broken=int(bool(report.verdict.problems)),
            **what,
        )
        self._events.update(report.events)

    def table(self) -> str:
        """In Markdown, the most frequent kind first."""
        rows = sorted(self._rows.items(), key=lambda item: (-item[1]["times"], item[0]))
        lines = [" | ".join(("fault", *COLUMNS)), " | ".join("---" for _ in range(len(COLUMNS) + 1))]
        lines += [
            " | ".join([kind, *(f"{row[name]:,}" for name in COLUMNS)])
            for kind, row in [*rows, ("**all**", self._all)]
        ]
        return "\n".join(f"| {line} |" for line in lines)

    def totals(self) -> str:
        count, events = self._all, self._events
        return (
            f"{count['runs']} runs, {count['broken']} broken; {count['requests']:,} requests, "
            f"{count['nodes']:,} nodes, {count['times']:,} faults; messages sent again {count['resent']}; "
            f"{events['operation_submitted']:,} operations with a job at once, "
            f"{events['operation_in_doubt']:,} in doubt, {events['operation_adopted']:,} adopted, "
            f"{events['operation_not_executed']:,} proven not executed, {events['operation_held']:,} held, "
            f"{events['late_response']:,} late responses"
        )
