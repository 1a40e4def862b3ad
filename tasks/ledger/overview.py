"""Reads for views and estimates: lists, counts, histories, durations."""

import dataclasses
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeVar, cast

from tasks.ledger.due import Due, DueKind, Lane, is_known
from tasks.ledger.durations import Duration
from tasks.ledger.migrations import UnreadableRecord, load
from tasks.ledger.pauses import Pause
from tasks.ledger.pools import Pool
from tasks.ledger.reads import LUA, LedgerReads, parsed_object
from tasks.ledger.record import Record
from tasks.ledger.records import Account, Cluster, Operation, Request, Zone
from tasks.ledger.schedules import ScheduleRecord
from tasks.runtime.redis_client import Script

READ_AT_ONCE = 500

# By the first word of their keys.
RECORDS: dict[str, type[Record]] = {
    "request": Request,
    "operation": Operation,
    "cluster": Cluster,
    "zone": Zone,
    "account": Account,
    "pause": Pause,
    "schedule": ScheduleRecord,
}

T = TypeVar("T", Duration, Pool)


def parsed_lines(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return the events of a list's lines; one that is not an event is shown as it is."""
    return [parsed_object(line) or {"at": None, "event": "unreadable", "line": line} for line in lines]


def parsed_as(kind: type[T], text: str) -> T | None:
    """Return the dataclass, without fields of later versions; None for another shape."""
    fields = parsed_object(text) or {}
    known = {field.name for field in dataclasses.fields(kind)}
    try:
        return kind(**{name: value for name, value in fields.items() if name in known})
    except TypeError:
        return None


class Overview:
    """Lists and counts of one ledger."""

    def __init__(self, ledger: LedgerReads) -> None:
        self._ledger = ledger
        self._redis = ledger.redis
        self._keys = ledger.keys
        self._due_of_kinds = Script(ledger.redis, LUA / "due_of_kinds.lua")

    async def paused_scopes(self) -> list[str]:
        return [str(member) for member in await self._redis.zrange(self._keys.index("paused"), 0, -1)]

    async def broken_clusters(self) -> list[str]:
        """Return the clusters with an open breaker."""
        return [str(member) for member in await self._redis.zrange(self._keys.index("broken"), 0, -1)]

    async def open_count(self) -> int:
        return int(await self._redis.zcard(self._keys.index("open")))

    async def open_requests(self, limit: int) -> list[str]:
        return [str(member) for member in await self._redis.zrange(self._keys.index("open"), 0, limit - 1)]

    async def ended_requests(self, limit: int) -> list[str]:
        """Return the requests that ended last, latest first."""
        return [str(member) for member in await self._redis.zrange(self._keys.ended, 0, limit - 1, desc=True)]

    async def ended_since(self, since_ms: int) -> AsyncIterator[tuple[str, int]]:
        """Yield the requests that have ended since then, each with when it did (ms), earliest first."""
        redis: Any = self._redis
        first, page = 0, READ_AT_ONCE
        while page == READ_AT_ONCE:
            rows = await redis.zrange(
                self._keys.ended,
                since_ms,
                "+inf",
                byscore=True,
                offset=first,
                num=READ_AT_ONCE,
                withscores=True,
            )
            for request_id, at in rows:
                yield str(request_id), int(at)
            first, page = first + len(rows), len(rows)

    async def held_operations(self) -> list[str]:
        return [str(member) for member in await self._redis.zrange(self._keys.index("held"), 0, -1)]

    async def held_since(self, operation_id: str) -> int | None:
        """Return when the operation became held (ms), or None if it is not."""
        score = await self._redis.zscore(self._keys.index("held"), operation_id)
        return None if score is None else int(score)

    async def unreadable(self) -> dict[str, str]:
        """Return why each record or due entry that a worker could not read cannot be read here either.

        Those that can be by now, or are gone, are forgotten.
        """
        found = {}
        for member in map(str, await self._redis.zrange(self._keys.unreadable, 0, -1)):
            problem = await self._problem_of(member)
            if problem is None:
                await self._redis.zrem(self._keys.unreadable, member)
            else:
                found[member] = problem
        return found

    async def _problem_of(self, member: str) -> str | None:
        key, _, entry = member.partition(" ")
        if entry:
            there = await self._redis.zscore(key, entry) is not None
            return "its kind is unknown to this version" if there and not is_known(entry) else None
        kind = RECORDS.get(key.removeprefix(f"{self._keys.prefix}:").partition(":")[0])
        version, content = await cast("Any", self._redis.hmget(key, ["version", "content"]))
        if kind is None or content is None:
            return None
        try:
            load(kind, key, version, content)
        except UnreadableRecord as error:
            return str(error)
        return None

    async def journal(self) -> list[dict[str, Any]]:
        """Return the events that stopped submissions or let them resume, latest last."""
        lines = await cast("Any", self._redis.lrange(self._keys.journal, 0, -1))
        return parsed_lines(lines)

    async def counter(self, name: str) -> int:
        return int(await cast("Any", self._redis.hget(self._keys.counters, name)) or 0)

    async def counters(self) -> dict[str, int]:
        """Return how often each counted event has happened, and what else is counted."""
        found = await cast("Any", self._redis.hgetall(self._keys.counters))
        return {str(name): int(number) for name, number in found.items()}

    async def heartbeats(self) -> dict[str, int]:
        """Return when each worker last ticked (ms), by its node name; those of the last day."""
        rows = await self._redis.zrange(self._keys.heartbeats, 0, -1, withscores=True)
        return {str(name): int(score) for name, score in cast("Any", rows)}

    async def due_of_kinds(self, *kinds: DueKind) -> list[Due]:
        """Return the entries of these kinds, however many others there are."""
        lanes = [self._keys.due(lane) for lane in Lane]
        return [Due.parse(str(entry)) for entry in await self._due_of_kinds(lanes, kinds)]

    async def overdue_s(self) -> float:
        """Return for how many seconds the oldest due entry has waited."""
        now, waited = self._ledger.clock.now_ms(), 0.0
        for lane in Lane:
            until = int(await self._redis.get(self._keys.suspended(lane)) or 0)
            first = await self._redis.zrange(self._keys.due(lane), 0, 0, withscores=True)
            for _, score in cast("list[tuple[str, float]]", first):
                waited = max(waited, (now - max(score, until)) / 1000)
        return waited

    async def durations_of(self, pools: Sequence[tuple[str, str]]) -> list[list[Duration]]:
        """Return the durations of the last operations of each pool, latest last.

        `pools`: cluster and name of each; a few hundred are read in each round trip.
        """
        found: list[list[Duration]] = []
        for first in range(0, len(pools), READ_AT_ONCE):
            async with self._redis.pipeline(transaction=False) as pipe:
                for cluster_id, name in pools[first : first + READ_AT_ONCE]:
                    pipe.lrange(self._keys.durations(cluster_id, name), 0, -1)
                rows = await pipe.execute()
            found += [
                [one for line in lines if (one := parsed_as(Duration, line)) is not None] for lines in rows
            ]
        return found

    async def pool_count(self) -> int:
        """Return how many pools have had an operation in the last 90 days."""
        return int(await self._redis.zcard(self._keys.pools_seen))

    async def durations(self, cluster_id: str, pool: str) -> list[Duration]:
        """Return the durations of the last operations of a pool, latest last."""
        (found,) = await self.durations_of([(cluster_id, pool)])
        return found

    async def pools_seen(self, limit: int = 0) -> list[Pool]:
        """Return the pools that have had an operation in the last 90 days, latest first.

        `limit`: how many at most; 0 returns all.
        """
        members = await self._redis.zrange(self._keys.pools_seen, 0, limit - 1, desc=True)
        return [found for member in members if (found := parsed_as(Pool, str(member))) is not None]

    async def history(self, request_id: str) -> list[dict[str, Any]]:
        lines = await cast("Any", self._redis.lrange(self._keys.history(request_id), 0, -1))
        return parsed_lines(lines)

    async def open_records(self) -> AsyncIterator[Request]:
        """Yield every readable request that has not ended, a few at a time."""
        ids = [str(member) for member in await self._redis.zrange(self._keys.index("open"), 0, -1)]
        for first in range(0, len(ids), READ_AT_ONCE):
            found = await self._ledger.requests(ids[first : first + READ_AT_ONCE], readable_only=True)
            for request in found.values():
                yield request

    async def open_of_cluster(self, cluster_id: str) -> list[Request]:
        """Return every readable request of the cluster that has not ended, oldest first.

        It waits in a pool, or the operation that has locked the cluster serves it.
        """
        keys, redis = self._keys, self._redis
        names: list[str] = []
        for pool in sorted(await cast("Any", redis.smembers(keys.pools(cluster_id)))):
            names += map(str, await redis.zrange(keys.demand(cluster_id, pool), 0, -1))
        cluster = await self._ledger.unless_unreadable(self._ledger.cluster(cluster_id))
        if cluster is not None and cluster.locked_by is not None:
            operations = await self._ledger.operations([cluster.locked_by], readable_only=True)
            names += [name for operation in operations.values() for name in operation.request_ids]
        found: dict[str, Request] = {}
        for first in range(0, len(names), READ_AT_ONCE):
            found |= await self._ledger.requests(names[first : first + READ_AT_ONCE], readable_only=True)
        still_open = (request for request in found.values() if not request.ended)
        return sorted(still_open, key=lambda request: (request.accepted_at, request.request_id))

    async def waiting(self, cluster_id: str) -> AsyncIterator[Request]:
        """Yield every request that waits for nodes of the cluster, a few at a time."""
        for pool in sorted(await cast("Any", self._redis.smembers(self._keys.pools(cluster_id)))):
            ids = await self._redis.zrange(self._keys.demand(cluster_id, pool), 0, -1)
            for first in range(0, len(ids), READ_AT_ONCE):
                found = await self._ledger.requests(map(str, ids[first : first + READ_AT_ONCE]))
                for request in found.values():
                    yield request
