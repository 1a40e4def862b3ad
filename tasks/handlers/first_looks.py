"""What the slow check has found missing once: the same worker looks again soon, and only then restores it."""

from collections.abc import Sequence

from tasks.ledger.indexes import IndexEntry
from tasks.ledger.record import Record
from tasks.runtime.clock import Clock

LOOKS_APART_MS = 5_000
MAX_MISSING = 10_000


class FirstLooks:
    """Entries of indexes that were missing when this worker looked for them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._missing: dict[tuple[str, ...], tuple[list[int], int]] = {}
        self._again: dict[tuple[str, ...], Record | None] = {}

    def confirm(self, entry: IndexEntry, records: Sequence[Record], read_at: int) -> bool:
        """Return whether the entry was missing in an earlier look, and the records have not moved on since.

        One that is missing once may belong to a step that was being written just then: its place is read
        before the last of its records. So this reading must be later than the records of the earlier look.

        Args:
            records: those that want the entry; none if it belongs to no request or operation.
            read_at: when the place was read, by the monotonic clock (ms).
        """
        # Several requests need one entry of their cluster: each has its own first look.
        name = (entry.places[0], entry.member, *(record.identity for record in records))
        versions, now = [record.version for record in records], self._clock.monotonic_ms()
        before = self._missing.get(name)
        if before is None or before[0] != versions:
            if len(self._missing) >= MAX_MISSING:
                self._missing.clear()
            self._missing[name] = before = (versions, now)
        if read_at - before[1] < LOOKS_APART_MS:
            wants = records[0] if records else None
            self._again[() if wants is None else (type(wants).__name__, wants.identity)] = wants
            return False
        del self._missing[name]
        return True

    @property
    def any_doubtful(self) -> bool:
        """Whether something has to be looked at again."""
        return bool(self._again)

    def take(self) -> list[Record | None]:
        """Return the records that want what was missing, None for entries of no record, and forget them."""
        again, self._again = self._again, {}
        return list(again.values())
