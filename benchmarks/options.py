"""The command-line options of a benchmark."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contenders import System


@dataclass(frozen=True, slots=True)
class Options:
    """`only`: names of systems, all if empty; `size`: instead of the benchmark's own."""

    quick: bool = False
    size: int | None = None
    only: tuple[str, ...] = ()

    def chosen(self, systems: Sequence[System]) -> list[System]:
        """Return those requested; one that is not installed is named and left out."""
        wanted = [system for system in systems if not self.only or system.name in self.only]
        for system in wanted:
            if not system.usable:
                self.say(f"{system.title} is left out: it has an environment of its own, see make bench-venv")
        return [system for system in wanted if system.usable]

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
