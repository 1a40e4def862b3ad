"""What a search has been through: how often each thing went wrong, and what came of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World

NOTHING = "(all histories)"


class Tally:
    """A row for each kind of fault: histories with it, how often it came, lost, twice, held.

    A history that breaks a promise is counted in every kind that was part of it.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Counter[str]] = {}

    def add(self, world: World) -> None:
        """Count a history that has come to its end, or was broken off where a promise was."""
        lost, twice = world.lost(), world.bought_twice()
        for kind, times in [(NOTHING, sum(world.faults.values())), *world.faults.items()]:
            row = self._rows.setdefault(kind, Counter())
            row.update(histories=1, times=times, lost=lost, twice=twice, held=world.ever_held)

    def table(self) -> str:
        """In Markdown, the most frequent kind first."""
        head = ("fault", "histories", "times", "lost", "twice", "held")
        rows = sorted(self._rows.items(), key=lambda item: -item[1]["times"])
        lines = [" | ".join(head), " | ".join("---" for _ in head)]
        lines += [" | ".join([kind, *(f"{row[name]:,}" for name in head[1:])]) for kind, row in rows]
        return "\n".join(f"| {line} |" for line in lines)
