"""Reads of the slow check that goes through all records."""

from collections.abc import Sequence
from typing import Any, cast

from tasks.ledger.due import Due, DueKind
from tasks.ledger.indexes import IndexEntry
from tasks.ledger.keys import Key, short_name
from tasks.ledger.reads import REPORT_KEPT_S, LedgerReads
from tasks.ledger.record import Record
from tasks.ledger.records import Request

REPORTED_ONCE_IN_S = 7 * 86_400
MAX_FAR_AHEAD = 100
MAX_WAIT_MS = 7_200_000  # longer than the check of as many open records as one step can meet


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
        """Return of each entry whether it is in none of its places, by one command for each place."""
        found = [False] * len(entries)
        for place in range(max((len(entry.places) for entry in entries), default=0)):
            left = [n for n, entry in enumerate(entries) if not found[n] and place < len(entry.places)]
            for number, is_there in zip(left, await self._are_there(entries, left, place), strict=True):
                found[number] = is_there
        return [not is_there for is_there in found]

    async def _are_there(self, entries: Sequence[IndexEntry], left: Sequence[int], place: int) -> list[bool]:
        by_key: dict[tuple[Key, bool], list[int]] = {}
        for number in left:
            by_key.setdefault((entries[number].places[place], entries[number].unsorted), []).append(number)
        async with self._redis.pipeline(transaction=False) as pipe:
            for (key, unsorted), numbers in by_key.items():
                members = [entries[number].member for number in numbers]
                if unsorted:
                    for member in members:
                        pipe.sismember(key, member)
                else:
                    pipe.zmscore(key, members)
            answers = iter(await pipe.execute() if by_key else [])
        there: dict[int, bool] = {}
        for (_, unsorted), numbers in by_key.items():
            found = [next(answers) or None for _ in numbers] if unsorted else next(answers)
            # 0 is no member of a set, and may be the score of one of a sorted set.
            there |= {number: answer is not None for number, answer in zip(numbers, found, strict=True)}
        return [there[number] for number in left]

    async def was_reported(self, key: str) -> bool:
        """Return whether somebody has reported in the last week that this key is missing."""
        return bool(await self._redis.exists(self._keys.reported_missing(key)))

    async def note_report(self, key: str) -> None:
        await self._redis.set(self._keys.reported_missing(key), "1", ex=REPORTED_ONCE_IN_S)

    async def next_ids(self, interval_ms: int, count: int) -> tuple[list[str], list[str]] | None:
        """Return the ids of the next requests and operations, a few of all keys at a time, round and round.

        Those that are settled are left out.

        Args:
            interval_ms: None is returned if another worker has scanned in this time.
            count: about how many keys are looked at.
        """
        now, keys = self._clock.now_ms(), self._keys
        next_ms, start = await self._redis.mget([keys.scrub_next, keys.scrub_cursor])
        # Further ahead than anybody has it wait, it was written by a clock that was ahead.
        if now < int(next_ms or 0) <= now + MAX_WAIT_MS:
            return None
        # Two workers that arrive at once check the same part, which does no harm.
        await self.wait(interval_ms)
        cursor, found = await cast(
            "Any", self._redis.scan(int(start or 0), match=f"{keys.prefix}:*", count=count)
        )
        await self._redis.set(keys.scrub_cursor, int(cursor), ex=REPORT_KEPT_S)
        starts = (keys.request(""), keys.operation(""))
        records = [str(key) for key in found if str(key).startswith(starts)]
        if not records:
            return [], []
        settled = await cast(
            "Any", self._redis.zmscore(keys.settled, [short_name(keys, key) for key in records])
        )
        left = [key for key, since in zip(records, settled, strict=True) if since is None]
        requests, operations = (
            [key.removeprefix(start) for key in left if key.startswith(start)] for start in starts
        )
        return requests, operations

    async def wait(self, interval_ms: int) -> None:
        """Have no worker scan for so long."""
        until = self._clock.now_ms() + min(interval_ms, MAX_WAIT_MS)
        await self._redis.set(self._keys.scrub_next, until, ex=REPORT_KEPT_S)

    async def note_settled(self, records: Sequence[Record]) -> None:
        """Note ended records that an earlier version has written."""
        names = [
            f"{'request' if isinstance(record, Request) else 'operation'}:{record.identity}"
            for record in records
        ]
        if names:
            await self._redis.zadd(self._keys.settled, dict.fromkeys(names, self._clock.now_ms()))
            await self._redis.expire(self._keys.settled, REPORTED_ONCE_IN_S)

    async def due_after(self, kind: DueKind, after_ms: int) -> list[Due]:
        """Return entries of a kind that are due later than that, a hundred at most."""
        key = self._keys.due(Due(kind, "").lane)
        found = await self._redis.zrange(key, after_ms, "+inf", byscore=True, offset=0, num=MAX_FAR_AHEAD)
        start = f"{kind}:"
        return [Due.parse(str(entry)) for entry in found if str(entry).startswith(start)]
