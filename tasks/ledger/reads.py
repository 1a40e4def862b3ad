"""What the ledger holds, as typed records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from tasks.ledger.due import Due, DueKind, Lane
from tasks.ledger.keys import Keys
from tasks.ledger.pauses import EVERYTHING, Pause, Pauses
from tasks.ledger.records import READ_OF_A_POOL, Account, Cluster, Operation, Record, Request, Zone
from tasks.ledger.schedules import ScheduleRecord
from tasks.ledger.snapshots import Demand, Scene
from tasks.runtime.clock import Clock
from tasks.runtime.redis_client import Script

LUA = Path(__file__).parent / "lua"
LATELY_MS = 60_000

R = TypeVar("R", bound=Record)


class LedgerReads:
    """All reads of what steps are decided from. A record carries the version it was read at."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self.keys = keys
        self.clock = clock
        self.redis = redis
        self._waiting = Script(redis, LUA / "cluster_snapshot.lua")

    async def request(self, request_id: str) -> Request | None:
        return await self._one(Request, self.keys.request(request_id))

    async def requests(self, request_ids: Iterable[str]) -> dict[str, Request]:
        """The requests that are there, by id."""
        names = [self.keys.request(request_id) for request_id in request_ids]
        found = await self._many(Request, names)
        return {record.request_id: record for record in found if record is not None}

    async def operation(self, operation_id: str) -> Operation | None:
        return await self._one(Operation, self.keys.operation(operation_id))

    async def operations(self, operation_ids: Iterable[str]) -> dict[str, Operation]:
        names = [self.keys.operation(operation_id) for operation_id in operation_ids]
        found = await self._many(Operation, names)
        return {record.operation_id: record for record in found if record is not None}

    async def cluster(self, cluster_id: str) -> Cluster:
        return await self._one_or(self.keys.cluster(cluster_id), Cluster(cluster_id=cluster_id))

    async def zone(self, zone: str) -> Zone:
        return await self._one_or(self.keys.zone(zone), Zone(zone=zone))

    async def account(self) -> Account:
        return await self._one_or(self.keys.account, Account())

    async def pause(self, scope: str) -> Pause:
        return await self._one_or(self.keys.pause(scope), Pause(scope=scope))

    async def pauses(self, cluster_id: str) -> Pauses:
        """What may keep an operation of the cluster from being sent."""
        rows = await self._rows([self.keys.pause(EVERYTHING), self.keys.pause(cluster_id)])
        return _pauses(cluster_id, *rows)

    async def demand(self, cluster_id: str) -> Demand:
        """The cluster, what may keep it from being planned, and who waits there."""
        names = self.keys
        cluster, account, everything, of_cluster, *pools = await self._waiting(
            [
                names.cluster(cluster_id),
                names.account,
                names.pause(EVERYTHING),
                names.pause(cluster_id),
                names.pools(cluster_id),
            ],
            [names.demand(cluster_id, ""), names.request(""), READ_OF_A_POOL],
        )
        return Demand(
            _load_or(Cluster(cluster_id=cluster_id), *cluster),
            _load_or(Account(), *account),
            _pauses(cluster_id, everything, of_cluster),
            {pool: [_load(Request, *row) for row in waiting] for pool, *waiting in pools},
        )

    async def scene(self, operation_id: str) -> Scene | None:
        """The operation with the records that its steps touch, or None if it is gone."""
        return (await self.scenes([operation_id])).get(operation_id)

    async def scenes(self, operation_ids: Iterable[str]) -> dict[str, Scene]:
        """The scenes of the operations that are there, in two round trips for all of them."""
        operations = await self.operations(operation_ids)
        if not operations:
            return {}
        names = self.keys
        clusters = sorted({operation.cluster_id for operation in operations.values()})
        requests = sorted({name for operation in operations.values() for name in operation.request_ids})
        keys = [names.account, names.pause(EVERYTHING)]
        keys += [key for name in clusters for key in (names.cluster(name), names.pause(name))]
        account, everything, *rows = await self._rows([*keys, *map(names.request, requests)])
        found = dict(zip(clusters, zip(rows[::2], rows[1::2], strict=False), strict=False))
        asking = {
            name: _load(Request, version, content)
            for name, (version, content) in zip(requests, rows[2 * len(clusters) :], strict=True)
            if content is not None
        }
        return {
            name: Scene(
                operation,
                {asked: asking[asked] for asked in operation.request_ids if asked in asking},
                _load_or(Cluster(cluster_id=operation.cluster_id), *found[operation.cluster_id][0]),
                _load_or(Account(), *account),
                _pauses(operation.cluster_id, everything, found[operation.cluster_id][1]),
            )
            for name, operation in operations.items()
        }

    async def running(self, zone: str) -> dict[str, tuple[str, int]]:
        """The zone's running jobs: operation id and time of sending (ms), by job id."""
        rows = await self.redis.zrange(self.keys.running(zone), 0, -1, withscores=True)
        found = {}
        for row in rows:
            member, score = cast("tuple[str, float]", row)
            job_id, _, operation_id = str(member).partition(" ")
            found[job_id] = (operation_id, int(score))
        return found

    async def jobs(self, cluster_id: str) -> dict[str, str]:
        """The operation that each known job of the cluster belongs to, by job id."""
        members = await self.redis.zrange(self.keys.jobs(cluster_id), 0, -1)
        pairs = (str(member).partition(" ") for member in members)
        return {job_id: operation_id for job_id, _, operation_id in pairs}

    async def outbox(self, limit: int) -> list[tuple[str, str]]:
        """Task ids and the requests whose outcome they wait for, oldest first."""
        members = await self.redis.zrange(self.keys.outbox, 0, limit - 1)
        # A request id has no space in it, whatever a producer makes of a task id.
        pairs = (str(member).rpartition(" ") for member in members)
        return [(task_id, request_id) for task_id, _, request_id in pairs]

    async def outcomes(self, request_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        if not request_ids:
            return []
        texts = await self.redis.mget([self.keys.outcome(request_id) for request_id in request_ids])
        return [json.loads(text) if text else None for text in texts]

    async def schedule(self, name: str) -> ScheduleRecord | None:
        return await self._one(ScheduleRecord, self.keys.schedule(name))

    async def schedule_names(self) -> set[str]:
        """Of the schedules that are in force."""
        return set(await cast("Any", self.redis.smembers(self.keys.schedules)))

    async def schedule_due_at(self, name: str) -> int | None:
        """When the schedule is looked at next (ms), or None if it never is."""
        due = Due(DueKind.SCHEDULE, name)
        score = await self.redis.zscore(self.keys.due(due.lane), str(due))
        return None if score is None else int(score)

    async def submissions_rest_until(self) -> int | None:
        until = await self.redis.get(self.keys.rest(Lane.SUBMISSIONS))
        return int(until) if until and int(until) > self.clock.now_ms() else None

    async def submissions_have_waited(self) -> bool:
        """Whether submissions wait for API calls, or did a minute ago: they rest, try, and rest again."""
        until = await self.redis.get(self.keys.rest(Lane.SUBMISSIONS))
        return until is not None and int(until) + LATELY_MS > self.clock.now_ms()

    async def _one(self, kind: type[R], key: str) -> R | None:
        (record,) = await self._many(kind, [key])
        return record

    async def _one_or(self, key: str, fresh: R) -> R:
        ((version, content),) = await self._rows([key])
        return _load_or(fresh, version, content)

    async def _many(self, kind: type[R], keys: Sequence[str]) -> list[R | None]:
        rows = await self._rows(keys)
        return [None if content is None else _load(kind, version, content) for version, content in rows]

    async def _rows(self, keys: Sequence[str]) -> list[tuple[Any, Any]]:
        """Version and content of each record, in one round trip."""
        if len(keys) == 1:
            return [tuple(await cast("Any", self.redis.hmget(keys[0], ["version", "content"])))]
        async with self.redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(key, ["version", "content"])
            return [tuple(row) for row in await pipe.execute()]


def _load(kind: type[R], version: str, content: str) -> R:
    return kind.model_validate_json(content).model_copy(update={"version": int(version)})


def _load_or(fresh: R, version: str | None, content: str | None) -> R:
    """The record, or `fresh` if nothing but its version is there yet."""
    if content is None:
        return fresh.model_copy(update={"version": int(version or 0)})
    return _load(type(fresh), str(version), content)


def _pauses(cluster_id: str, everything: Sequence[Any], of_cluster: Sequence[Any]) -> Pauses:
    return Pauses(
        _load_or(Pause(scope=EVERYTHING), *everything), _load_or(Pause(scope=cluster_id), *of_cluster)
    )
