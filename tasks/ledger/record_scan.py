"""Reads of the slow check that goes through all records."""

from collections.abc import Sequence
from typing import Any, cast

from tasks.ledger.due import Due, DueKind
from tasks.ledger.indexes import IndexEntry
from tasks.ledger.reads import REPORT_KEPT_S, LedgerReads

REPORTED_ONCE_IN_S = 7 * 86_400
MAX_FAR_AHEAD = 100


class RecordScan:
    """All records of one ledger, a part of them at a time."""

    def __init__(self, ledger: LedgerReads) -> None:
        self._redis = ledger.redis
        self._keys = ledger.keys
        self._clock = ledger.clock

    async def absent(self, keys: Sequence[str]) -> set[str]:
        """Return those of the keys that do not exist, in one round trip."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.exists(key)
            found = await pipe.execute()
        return {key for key, exists in zip(keys, found, strict=True) if not exists}

    async def missing(self, entries: Sequence[IndexEntry]) -> list[bool]:
        """Return of each entry whether it is in none of its places, in one round trip."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                for place in entry.places:
                    (pipe.sismember if entry.unsorted else pipe.zscore)(place, entry.member)
            answers = iter(await pipe.execute())
        found = [[next(answers) for _ in entry.places] for entry in entries]
        return [
            all(_is_absent(entry, answer) for answer in of_entry)
            for entry, of_entry in zip(entries, found, strict=True)
        ]

    async def was_reported(self, key: str) -> bool:
        """Return whether somebody has reported in the last week that this key is missing."""
        return bool(await self._redis.exists(self._keys.reported_missing(key)))

    async def note_report(self, key: str) -> None:
        await self._redis.set(self._keys.reported_missing(key), "1", ex=REPORTED_ONCE_IN_S)

    async def next_ids(self, interval_ms: int, count: int) -> tuple[list[str], list[str]] | None:
        """Return the ids of the next requests and operations, a few of all keys at a time, round and round.

        Args:
            interval_ms: None is returned if another worker has scanned in this time.
            count: about how many keys are looked at.
        """
        now = self._clock.now_ms()
        if int(await self._redis.get(self._keys.scrub_next) or 0) > now:
            return None
        # Two workers that arrive at once check the same part, which does no harm.
        await self._redis.set(self._keys.scrub_next, now + interval_ms, ex=REPORT_KEPT_S)
        start = int(await self._redis.get(self._keys.scrub_cursor) or 0)
        cursor, found = await cast(
            "Any", self._redis.scan(start, match=f"{self._keys.prefix}:*", count=count)
        )
        await self._redis.set(self._keys.scrub_cursor, int(cursor), ex=REPORT_KEPT_S)
        starts = (self._keys.request(""), self._keys.operation(""))
        requests, operations = (
            [str(key).removeprefix(start) for key in found if str(key).startswith(start)] for start in starts
        )
        return requests, operations

    async def due_after(self, kind: DueKind, after_ms: int) -> list[Due]:
        """Return entries of a kind that are due later than that, a hundred at most."""
        key = self._keys.due(Due(kind, "").lane)
        found = await self._redis.zrange(key, after_ms, "+inf", byscore=True, offset=0, num=MAX_FAR_AHEAD)
        start = f"{kind}:"
        return [Due.parse(str(entry)) for entry in found if str(entry).startswith(start)]


def _is_absent(entry: IndexEntry, found: float | None) -> bool:
    """Read an answer: 0 is no member of a set, and may be the score of one of a sorted set."""
    return not found if entry.unsorted else found is None
