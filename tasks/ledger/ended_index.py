"""Ended requests by cluster, producer and status, so that a search reads no more than it shows.

An earlier version writes only the index of all. These are used while they are complete. Each step that ends a
request writes it into all of them, so they are if the statuses together have as many as the index of all.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from tasks.contract.outcome import OutcomeStatus
from tasks.ledger.history_pages import newest_first
from tasks.ledger.keys import Key, Keys
from tasks.ledger.ledger import Ledger
from tasks.ledger.outcome_entries import ended_indexes
from tasks.ledger.records import Request

STATUSES: tuple[str, ...] = get_args(OutcomeStatus)
AT_ONCE = 500
CHECKED_EVERY_MS = 600_000


async def narrowest_index(
    ledger: Ledger, *, cluster_id: str | None, requested_by: str | None, status: str | None
) -> Key:
    """Return the smallest sorted set, by end, that has all ended requests of these; None is any."""
    keys = ledger.keys
    found = list(ended_indexes(keys, status=status, cluster_id=cluster_id, requested_by=requested_by))
    if not found or not await is_complete(ledger):
        return keys.ended
    async with ledger.redis.pipeline(transaction=False) as pipe:
        for key in found:
            pipe.zcard(key)
        sizes = await pipe.execute()
    return min(zip(sizes, found, strict=True))[1]


async def is_complete(ledger: Ledger) -> bool:
    """Return whether every ended request that is kept is in its indexes."""
    keys, kept_from = ledger.keys, ledger.ended_kept_from()
    async with ledger.redis.pipeline(transaction=True) as pipe:
        for key in (
            keys.ended,
            *(index for status in STATUSES for index in ended_indexes(keys, status=status)),
        ):
            pipe.zcount(key, kept_from, "+inf")
        every, *by_status = await pipe.execute()
    return bool(sum(by_status) >= every)


class EndedIndexRepair:
    """Adds what an earlier version has ended to the indexes, a page at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pages: Any = None
        self._next_ms = 0

    async def step(self) -> None:
        """Repair a page; while all is complete, look again only now and then."""
        ledger = self._ledger
        if self._pages is None:
            if ledger.clock.now_ms() < self._next_ms:
                return
            self._next_ms = ledger.clock.now_ms() + CHECKED_EVERY_MS
            if await is_complete(ledger):
                return
            self._pages = newest_first(
                ledger, ledger.keys.ended, since=ledger.ended_kept_from(), page=AT_ONCE
            )
        names = await anext(self._pages, None)
        if names is None:
            self._pages = None
            return
        await self._add((await ledger.requests(names, readable_only=True)).values())

    async def _add(self, requests: Iterable[Request]) -> None:
        ttl_s = self._ledger.ended_ttl_s
        async with self._ledger.redis.pipeline(transaction=True) as pipe:
            for request in requests:
                for key in _indexes_of(self._ledger.keys, request):
                    pipe.zadd(key, {request.request_id: request.finished_at or 0})
                    pipe.expire(key, ttl_s)
            await pipe.execute()


def _indexes_of(keys: Keys, request: Request) -> Sequence[Key] | Iterator[Key]:
    if not request.ended:
        return ()
    spec = request.spec
    cluster_id, requested_by = (None, None) if spec is None else (spec.cluster_id, spec.requested_by)
    return ended_indexes(keys, status=request.status, cluster_id=cluster_id, requested_by=requested_by)
