"""The durable record of requests and operations, in Redis: one typed method a script, and the reads."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from tasks.ledger.changes import Changes, Committed
from tasks.ledger.due import OUTBOX, Due, DueKind, Lane
from tasks.ledger.durations import Duration, Pool
from tasks.ledger.epoch import Epoch
from tasks.ledger.keys import Keys
from tasks.ledger.meters import Reading
from tasks.ledger.pauses import EVERYTHING, Pause, Pauses
from tasks.ledger.records import READ_OF_A_POOL, Account, Cluster, Operation, Record, Request, Zone
from tasks.ledger.scene import Demand, Scene
from tasks.ledger.schedule_record import ScheduleRecord
from tasks.ledger.step_encoding import StepEncoding
from tasks.runtime.clock import Clock
from tasks.runtime.redis_scripts import Script

LUA = Path(__file__).parent / "lua"
REMEMBER_ANSWERS_MS = 600_000
LATELY_MS = 60_000
MOST_LEAVING = 100
READ_AT_ONCE = 500

R = TypeVar("R", bound=Record)


class Joined(StrEnum):
    """What is known of a request that somebody wants to wait for."""

    ABSENT = "ABSENT"
    CONFLICT = "CONFLICT"
    WAITING = "WAITING"
    ENDED = "ENDED"


class Ledger:
    """All reads and writes of the ledger.

    `outcome_ttl_s`: how long ended requests, their operations and outcomes are kept, in seconds;
    `stream_maxlen`: about how many entries the outcome stream keeps.
    """

    def __init__(
        self, redis: Redis, keys: Keys, clock: Clock, *, outcome_ttl_s: int, stream_maxlen: int
    ) -> None:
        self.keys = keys
        self.clock = clock
        self.redis = redis
        self._outcome_ttl_s = outcome_ttl_s
        self._stream_maxlen = stream_maxlen
        self._commit = Script(redis, LUA / "commit.lua")
        self._claim = Script(redis, LUA / "claim_due.lua")
        self._join = Script(redis, LUA / "join.lua")
        self._ring = Script(redis, LUA / "ring.lua")
        self._idle = Script(redis, LUA / "idle.lua")
        self._waiting = Script(redis, LUA / "waiting.lua")
        self._usage = Script(redis, LUA / "usage.lua")
        self.epoch = Epoch()
        self._next_due_ms: dict[Lane, int] = {}
        self.on_due: Callable[[Lane, int], None] | None = None

    async def learn_time(self) -> None:
        """Ask the server for its time; needed once, before anything that uses the clock."""
        seconds, micros = await self.redis.time()
        self.clock.observe(seconds * 1000 + micros // 1000)

    async def commit(self, changes: Changes) -> Committed:
        """Apply `changes` all or nothing.

        STALE if a record has moved on since it was read; OVER if a meter has no room for what it would add;
        LOST if `changes` sends and data is missing here.
        """
        encoding = StepEncoding(self.keys, self.clock.now_ms(), self._outcome_ttl_s, self._stream_maxlen)
        keys, step = encoding.encode(changes)
        args = [self.clock.for_script(), uuid.uuid4().hex, REMEMBER_ANSWERS_MS, step]
        known = [self.epoch.id, self.epoch.count, uuid.uuid4().hex, int(changes.sends)]
        word, now, *seen = await self._commit(keys, [*args, *known])
        self.clock.observe(int(now))
        self.epoch.observe(*seen)
        for lane, at in changes.soonest_due().items():
            self._expect(lane, at)
            self._announce(lane, at)
        return Committed[word]

    async def accept(self) -> None:
        """A person takes the ledger as it is, though data that a worker has seen is missing from it."""
        name = uuid.uuid4().hex
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(self.keys.epoch, mapping={"id": name, "accepted": name, "count": 0})
            pipe.hdel(self.keys.epoch, "lost")
            await pipe.execute()

    async def lost_since(self) -> int | None:
        """Since when (ms) data is known to be missing, or None."""
        since = await cast("Any", self.redis.hget(self.keys.epoch, "lost"))
        return None if since is None else int(since)

    async def claim_due(self, lane: Lane, limit: int, lease_s: float) -> list[Due]:
        """Take at most `limit` due entries, leased to the caller for `lease_s`."""
        # What is written from now on, while the answer is on its way, has to be looked at all the same.
        self._next_due_ms.pop(lane, None)
        keys = [self.keys.due(lane), self.keys.answered, self.keys.answers, self.keys.rest(lane)]
        args = [self.clock.for_script(), uuid.uuid4().hex, REMEMBER_ANSWERS_MS, limit, round(lease_s * 1000)]
        now, following, *entries = await self._claim(keys, args)
        self.clock.observe(int(now))
        if int(following) >= 0:
            self._expect(lane, int(following))
        return [Due.parse(entry) for entry in entries]

    def expects_due(self, lane: Lane) -> bool:
        """Whether anything of the lane is due by now, as far as this process knows without asking."""
        at = self._next_due_ms.get(lane)
        return at is not None and at <= self.clock.now_ms()

    def _announce(self, lane: Lane, at: int) -> None:
        """Tell this process, if it wants to know, when something is due that it has itself written."""
        if self.on_due is not None and at > self.clock.now_ms():
            self.on_due(lane, at)

    def _expect(self, lane: Lane, at: int) -> None:
        self._next_due_ms[lane] = min(at, self._next_due_ms.get(lane, at))

    async def rest_submissions(self, until_ms: int) -> None:
        """Nobody plans or sends before `until_ms`: there are no API calls for it."""
        key = self.keys.rest(Lane.SUBMISSIONS)
        lasting_ms = max(0, until_ms - self.clock.now_ms()) + LATELY_MS
        await self.redis.set(key, until_ms, px=lasting_ms)
        self._announce(Lane.SUBMISSIONS, until_ms)

    async def submissions_rest_until(self) -> int | None:
        until = await self.redis.get(self.keys.rest(Lane.SUBMISSIONS))
        return int(until) if until and int(until) > self.clock.now_ms() else None

    async def submissions_have_waited(self) -> bool:
        """Whether submissions wait for API calls, or did a minute ago: they rest, try, and rest again."""
        until = await self.redis.get(self.keys.rest(Lane.SUBMISSIONS))
        return until is not None and int(until) + LATELY_MS > self.clock.now_ms()

    async def join(
        self, request_id: str, fingerprint: str | None, task_id: str | None
    ) -> tuple[Joined, dict[str, Any] | None]:
        """Have `task_id` told of the request's outcome, or get the outcome if the request has ended."""
        names = self.keys
        keys = [names.request(request_id), names.waiters(request_id), names.outcome(request_id)]
        word, now, outcome = await self._join(
            keys, [self.clock.for_script(), fingerprint or "", task_id or ""]
        )
        self.clock.observe(int(now))
        return Joined(word), json.loads(outcome) if outcome else None

    async def ring(self, under_way_s: float, worker: str = "") -> bool:
        """Whether the caller has to send a sweep message; it counts as under way for `under_way_s`.

        `worker` is noted as alive.
        """
        lanes = [key for lane in Lane for key in (self.keys.due(lane), self.keys.rest(lane))]
        keys = [self.keys.doorbell, self.keys.epoch, self.keys.heartbeats, *lanes]
        args = [self.clock.for_script(), round(under_way_s * 1000), worker]
        answer, now, *seen = await self._ring(keys, args)
        self.clock.observe(int(now))
        if not self.epoch.agrees(*seen):
            # The script that writes is the judge; it also tells all others.
            await self.commit(Changes())
        return bool(answer)

    async def ring_heard(self) -> None:
        """The sweep message has arrived: the next one may be sent."""
        await self.redis.delete(self.keys.doorbell)

    async def rest_zone(self, zone: str, next_ms: int) -> bool:
        """Look at the zone again at `next_ms`, or not at all if nothing runs there any more: then True."""
        due = Due(DueKind.ZONE, zone)
        at_rest = await self._idle([self.keys.due(due.lane), self.keys.running(zone)], [str(due), next_ms])
        self._announce(due.lane, next_ms)
        return bool(at_rest)

    async def rest_outbox(self, next_ms: int) -> None:
        await self._idle([self.keys.due(OUTBOX.lane), self.keys.outbox], [str(OUTBOX), next_ms])

    async def readings(self, meters: Sequence[tuple[str, int]]) -> list[Reading]:
        """What meters show, each named by its scope and its window in seconds."""
        names = self.keys
        keys = [key(*meter) for meter in meters for key in (names.meter_times, names.meter_nodes)]
        args = [self.clock.for_script(), MOST_LEAVING, *(window_s * 1000 for _, window_s in meters)]
        now, *rows = await self._usage(keys, args)
        self.clock.observe(int(now))
        pairs = [[int(value) for value in rest] for _, *rest in rows]
        return [
            Reading(int(row[0]), tuple(zip(rest[::2], rest[1::2], strict=True)))
            for row, rest in zip(rows, pairs, strict=True)
        ]

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

    async def paused_scopes(self) -> list[str]:
        return [str(member) for member in await self.redis.zrange(self.keys.paused, 0, -1)]

    async def broken_clusters(self) -> list[str]:
        """The clusters with an open breaker."""
        return [str(member) for member in await self.redis.zrange(self.keys.broken, 0, -1)]

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

    async def told(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Take out of the outbox who has been told."""
        if pairs:
            await self.redis.zrem(self.keys.outbox, *(f"{task} {request}" for task, request in pairs))

    async def outcomes(self, request_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        if not request_ids:
            return []
        texts = await self.redis.mget([self.keys.outcome(request_id) for request_id in request_ids])
        return [json.loads(text) if text else None for text in texts]

    async def history(self, request_id: str) -> list[dict[str, Any]]:
        lines = await cast("Any", self.redis.lrange(self.keys.history(request_id), 0, -1))
        return [json.loads(line) for line in lines]

    async def waiting(self, cluster_id: str) -> AsyncIterator[Request]:
        """Every request that waits for nodes of the cluster, a few at a time."""
        for pool in sorted(await cast("Any", self.redis.smembers(self.keys.pools(cluster_id)))):
            ids = await self.redis.zrange(self.keys.demand(cluster_id, pool), 0, -1)
            for first in range(0, len(ids), READ_AT_ONCE):
                found = await self.requests(map(str, ids[first : first + READ_AT_ONCE]))
                for request in found.values():
                    yield request

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

    async def heartbeats(self) -> dict[str, int]:
        """When each worker last ticked (ms), by its node name; those of the last day."""
        rows = await self.redis.zrange(self.keys.heartbeats, 0, -1, withscores=True)
        return {str(name): int(score) for name, score in cast("Any", rows)}

    async def durations(self, cluster_id: str, pool: str) -> list[Duration]:
        """Of the last operations of a pool, latest last."""
        lines = await cast("Any", self.redis.lrange(self.keys.durations(cluster_id, pool), 0, -1))
        return [Duration(**json.loads(line)) for line in lines]

    async def pools_seen(self) -> list[Pool]:
        """The pools that have had an operation in the last 90 days, latest first."""
        members = await self.redis.zrange(self.keys.pools_seen, 0, -1, desc=True)
        return [Pool(**json.loads(str(member))) for member in members]

    async def open_requests(self, limit: int) -> list[str]:
        return [str(member) for member in await self.redis.zrange(self.keys.open, 0, limit - 1)]

    async def ended_requests(self, limit: int) -> list[str]:
        """The requests that ended last, latest first."""
        return [str(member) for member in await self.redis.zrange(self.keys.ended, 0, limit - 1, desc=True)]

    async def held_operations(self) -> list[str]:
        return [str(member) for member in await self.redis.zrange(self.keys.held, 0, -1)]

    async def held_since(self, operation_id: str) -> int | None:
        """When the operation became held (ms), or None if it is not."""
        score = await self.redis.zscore(self.keys.held, operation_id)
        return None if score is None else int(score)

    async def journal(self) -> list[dict[str, Any]]:
        """What has stopped the sending, or let it go on, latest last."""
        lines = await cast("Any", self.redis.lrange(self.keys.journal, 0, -1))
        return [json.loads(line) for line in lines]

    async def counter(self, name: str) -> int:
        return int(await cast("Any", self.redis.hget(self.keys.counters, name)) or 0)

    async def overdue_s(self) -> float:
        """For how long the oldest due entry has waited, in seconds."""
        now, waited = self.clock.now_ms(), 0.0
        for lane in Lane:
            until = int(await self.redis.get(self.keys.rest(lane)) or 0)
            first = await self.redis.zrange(self.keys.due(lane), 0, 0, withscores=True)
            for _, score in cast("list[tuple[str, float]]", first):
                waited = max(waited, (now - max(score, until)) / 1000)
        return waited

    async def last_outcome_id(self) -> str:
        """Where the outcome stream ends now."""
        newest = await cast("Any", self.redis.xrevrange(self.keys.outcomes, count=1))
        return str(newest[0][0]) if newest else "0-0"

    async def next_outcome(self, after: str, block_ms: int) -> None:
        """Wait until the outcome stream goes on after the entry `after`, at most `block_ms`."""
        await cast("Any", self.redis.xread({self.keys.outcomes: after}, count=1, block=max(block_ms, 1)))

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
