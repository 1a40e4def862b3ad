"""PURE: put the pages of a listing together, and say what keeps it from being a proof."""

from dataclasses import dataclass, field
from typing import Generic

from tasks.ehpc.actions import PAGE
from tasks.ehpc.models import Page, R


@dataclass(slots=True)
class Listing(Generic[R]):
    """The rows of all pages read so far, from the first on.

    Fields:
        to_the_empty_page: read on until a page is empty, whatever the provider counts: what rests on the
            absence of a row needs it, for a count may be that of the page.
        unreadable: rows without a usable id.
        repeated: rows that were shown before; another may be missing for each.
        counted: the highest count that the provider gave, and `last_counted` the one of the last page.
        counts_pages: the count of each page was that of its own rows.
        skew_s: how far the provider's clock was from ours, at most; None if it never said its time.
        complete: no page is left to be read.
    """

    to_the_empty_page: bool = False
    rows: list[R] = field(default_factory=list)
    unreadable: int = 0
    repeated: int = 0
    counted: int | None = None
    last_counted: int | None = None
    offset: int = 0
    counts_pages: bool = True
    skew_s: float | None = None
    complete: bool = False
    _ids: set[str] = field(default_factory=set)

    def add(self, page: Page[R]) -> None:
        """Add the next page, which begins at `offset`."""
        before = len(self.rows)
        for row in page.rows:
            if row.identity in self._ids:
                self.repeated += 1
                continue
            self._ids.add(row.identity)
            self.rows.append(row)
        if page.skew_s is not None:
            self.skew_s = max(page.skew_s, self.skew_s or 0.0, key=abs)
        self.unreadable += page.unreadable
        self.offset += page.row_count
        self.last_counted = page.total
        self.counts_pages = self.counts_pages and page.total in (None, page.row_count)
        if page.total is not None:
            self.counted = max(page.total, self.counted or 0)
        self.complete = self._is_last(page, len(self.rows) > before)

    def _is_last(self, page: Page[R], has_new: bool) -> bool:
        if not has_new:
            # Empty; or the same rows again, by a provider that ignores the offset and would do so for ever.
            return True
        if page.total is None or self.to_the_empty_page or page.row_count >= PAGE:
            return False
        # More rows than it counts: only an empty page shows the end.
        return self.offset == page.total

    @property
    def flaws(self) -> list[str]:
        """What makes it incomplete, or contradict itself; a listing without flaws shows all rows."""
        found = []
        if self.unreadable:
            found.append(f"{self.unreadable} of its rows cannot be read")
        if self.repeated:
            found.append("it shows a row twice, so that another may be missing")
        if self.last_counted is not None and self.offset < self.last_counted:
            found.append(f"it ended after {self.offset} of {self.last_counted} rows")
        if self.counted is not None and self.offset > self.counted and not self.counts_pages:
            found.append(f"it has {self.offset} rows and counts {self.counted}")
        return found
