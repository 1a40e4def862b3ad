"""Pure: which pages of a listing to read next. The provider gives as many rows a page as it likes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OVERLAP = 5  # rows; so many jobs may be made while pages are read together, and none is missed


@dataclass(slots=True)
class LogPlace:
    """How far a listing has been read. Until it has said how long it is, it may be longer than `expected`.

    `size`: rows of a page, as it seems; `known_size`: as it has been seen.
    """

    size: int
    expected: int
    known_size: int
    offset: int = 0
    total: int | None = None
    cut_at: int | None = None

    @property
    def begun(self) -> bool:
        return self.total is not None

    @property
    def pages_left(self) -> int:
        return 1 if self.total is None else max(0, pages_of(self.total - self.offset, self.size))

    def pages_for(self, unseen: int) -> int:
        """How many to read next. Every running job is in the log: so many pages there are at the least."""
        needed = pages_of(unseen, self.size)
        if self.total is not None:
            return min(needed, self.pages_left)
        # Of a listing that is gone on with, only the rest.
        rest = max(1, pages_of(self.expected - self.offset, self.size))
        return min(needed, rest) if self.offset else needed

    def has_read(self, offsets: Sequence[int], rows: int, total: int) -> None:
        """Pages from `offsets` on; the first of them has given so many `rows` of `total`."""
        self.total = total
        if rows and offsets[0] == self.cut_at:
            # A count that is too high looks like a short page too, but nothing comes after that.
            self.known_size = self.size
        self.known_size = max(self.known_size, rows)
        if not rows:
            self.offset = self.total
        elif rows < self.size and offsets[0] + rows < self.total:
            # Pages are shorter than thought, and there are holes between those that were read.
            self.size, self.offset = rows, offsets[0] + rows
            self.cut_at = self.offset
        else:
            # What has been made meanwhile has moved the rest down, towards the next page.
            self.size = max(self.size, rows)
            self.offset = offsets[-1] + self.size

    def offsets(self, number: int, unseen: int) -> list[int]:
        """Of the next pages. They overlap as far as they have room for more than the rest of the listing.

        A job that is made between two pages that are read in the wrong order moves a row from one into the
        other, past both. But no page is read for the overlap alone: with five hundred jobs it would be every
        sixth call, and what is missed is seen by the next look.
        """
        rest = (self.expected if self.total is None else self.total) - self.offset
        spare = max(0, number * self.size - max(rest, unseen)) // max(1, number - 1)
        step = self.size - min(OVERLAP, spare, self.size // 2)
        return [self.offset + page * step for page in range(number)]


def pages_of(rows: int, size: int) -> int:
    return -(-rows // size)
