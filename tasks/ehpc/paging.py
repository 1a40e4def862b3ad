"""PURE: which pages of a listing to read next. The provider may give fewer rows a page than requested."""

from collections.abc import Sequence
from dataclasses import dataclass

OVERLAP = 5  # rows; as many jobs may be made while pages are read together without one being missed


@dataclass(slots=True)
class PageCursor:
    """How far a listing has been read.

    Fields:
        size: rows of a page, as assumed; `known_size`: as seen.
        expected: rows of the listing, as assumed until the listing has shown its `total`.
        short_page_at: the offset behind a page that had fewer rows than assumed.
    """

    size: int
    expected: int
    known_size: int
    offset: int = 0
    total: int | None = None
    short_page_at: int | None = None

    @property
    def begun(self) -> bool:
        return self.total is not None

    @property
    def pages_left(self) -> int:
        return 1 if self.total is None else max(0, pages_of(self.total - self.offset, self.size))

    def pages_for(self, unseen: int) -> int:
        """Return how many pages to read next: each of the `unseen` jobs has a row in the listing."""
        needed = pages_of(unseen, self.size)
        if self.total is not None:
            return min(needed, self.pages_left)
        # Of a listing that is resumed, only the rest.
        rest = max(1, pages_of(self.expected - self.offset, self.size))
        return min(needed, rest) if self.offset else needed

    def advance(self, offsets: Sequence[int], rows: int, counted: int | None) -> None:
        """Record that the pages at `offsets` were read; the first had `rows` rows.

        Args:
            counted: the provider's count of all rows, which may be that of the page: behind a full page there
                may be another one, whatever it says. None if it does not say.
        """
        end = offsets[0] + rows
        total = max(counted or 0, end + 1 if rows and (rows >= self.size or counted is None) else end)
        self.total = total
        if rows and offsets[0] == self.short_page_at:
            # A count that is too high looks like a short page too, but no row follows it.
            self.known_size = self.size
        self.known_size = max(self.known_size, rows)
        if not rows:
            self.offset = self.total
        elif rows < self.size and end < self.total:
            # Pages are shorter than assumed, and there are holes between those that were read.
            self.size, self.offset = rows, end
            self.short_page_at = self.offset
        else:
            # Jobs made in between have moved the rest down, towards the next page.
            self.size = max(self.size, rows)
            self.offset = offsets[-1] + self.size

    def offsets(self, number: int, unseen: int) -> list[int]:
        """Return the offsets of the next pages, which overlap where they have room for it.

        A job that is made between two pages that are read in the wrong order moves a row from one to the
        other, so that neither shows it. No page is read for the overlap alone: with five hundred jobs it
        would be every sixth call, and the next poll sees what was missed.
        """
        rest = (self.expected if self.total is None else self.total) - self.offset
        spare = max(0, number * self.size - max(rest, unseen)) // max(1, number - 1)
        step = self.size - min(OVERLAP, spare, self.size // 2)
        return [self.offset + page * step for page in range(number)]


def pages_of(rows: int, size: int) -> int:
    return -(-rows // size)
