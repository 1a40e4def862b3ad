"""Reads for views and estimates: lists, counts, histories, durations."""

import json
from collections.abc import AsyncIterator
from typing import Any, cast

from tasks.ledger.due import Lane
from tasks.ledger.durations import Duration
from tasks.ledger.pools import Pool
from tasks.ledger.reads import LedgerReads
from tasks.ledger.records import Request

READ_AT_ONCE = 500


class Overview:
    """Lists and counts of one ledger."""

    def __init__(self, ledger: LedgerReads) -> None:
        self._ledger = ledger
        self._redis = ledger.redis
        self._keys = ledger.keys

    async def paused_scopes(self) -> list[str]:
        return [str(member) for member in await self._redis.zrange(self._keys.index("paused"), 0, -1)]

    async def broken_clusters(self) -> list[str]:
        """Return the clusters with an open breaker."""
        return [str(member) for member in await self._redis.zrange(self._keys.index("broken"), 0, -1)]

    async def open_requests(self, limit: int) -> list[str]:
        return [str(member) for member in await self._redis.zrange(self._keys.index("open"), 0, limit - 1)]

    async def ended_requests(self, limit: int) -> list[str]:
        """Return the requests that ended last, latest first."""
        return [str(member) for member in await self._redis.zrange(self._keys.ended, 0, limit - 1, desc=True)]

    async def held_operations(self) -> list[str]:
        return [str(member) for member in await self._redis.zrange(self._keys.index("held"), 0, -1)]

    async def held_since(self, operation_id: str) -> int | None:
        """Return when the operation became held (ms), or None if it is not."""
        score = await self._redis.zscore(self._keys.index("held"), operation_id)
        return None if score is None else int(score)

    async def journal(self) -> list[dict[str, Any]]:
        """Return the events that stopped submissions or let them resume, latest last."""
        lines = await cast("Any", self._redis.lrange(self._keys.journal, 0, -1))
        return [json.loads(line) for line in lines]

    async def counter(self, name: str) -> int:
        return int(await cast("Any", self._redis.hget(self._keys.counters, name)) or 0)

    async def heartbeats(self) -> dict[str, int]:
        """Return when each worker last ticked (ms), by its node name; those of the last day."""
        rows = await self._redis.zrange(self._keys.heartbeats, 0, -1, withscores=True)
        return {str(name): int(score) for name, score in cast("Any", rows)}

    async def overdue_s(self) -> float:
        """Return for how many seconds the oldest due entry has waited."""
        now, waited = self._ledger.clock.now_ms(), 0.0
        for lane in Lane:
            until = int(await self._redis.get(self._keys.suspended(lane)) or 0)
            first = await self._redis.zrange(self._keys.due(lane), 0, 0, withscores=True)
            for _, score in cast("list[tuple[str, float]]", first):
                waited = max(waited, (now - max(score, until)) / 1000)
        return waited

    async def durations(self, cluster_id: str, pool: str) -> list[Duration]:
        """Return the durations of the last operations of a pool, latest last."""
        lines = await cast("Any", self._redis.lrange(self._keys.durations(cluster_id, pool), 0, -1))
        return [Duration(**json.loads(line)) for line in lines]

    async def pools_seen(self) -> list[Pool]:
        """Return the pools that have had an operation in the last 90 days, latest first."""
        members = await self._redis.zrange(self._keys.pools_seen, 0, -1, desc=True)
        return [Pool(**json.loads(str(member))) for member in members]

    async def history(self, request_id: str) -> list[dict[str, Any]]:
        lines = await cast("Any", self._redis.lrange(self._keys.history(request_id), 0, -1))
        return [json.loads(line) for line in lines]

    async def waiting(self, cluster_id: str) -> AsyncIterator[Request]:
        """Yield every request that waits for nodes of the cluster, a few at a time."""
        for pool in sorted(await cast("Any", self._redis.smembers(self._keys.pools(cluster_id)))):
            ids = await self._redis.zrange(self._keys.demand(cluster_id, pool), 0, -1)
            for first in range(0, len(ids), READ_AT_ONCE):
                found = await self._ledger.requests(map(str, ids[first : first + READ_AT_ONCE]))
                for request in found.values():
                    yield request
