"""Read what the ledger holds, as typed records."""

import json
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import structlog
from redis.asyncio import Redis

from tasks.ledger.due import Lane
from tasks.ledger.keys import Keys
from tasks.ledger.migrations import UnreadableRecord, load
from tasks.ledger.outcome_entries import ANSWER
from tasks.ledger.outcomes import outcome_of
from tasks.ledger.pauses import EVERYTHING, Pause, Pauses
from tasks.ledger.record import Record
from tasks.ledger.records import MAX_READ_OF_A_POOL, Account, Arrivals, Cluster, Operation, Request, Zone
from tasks.ledger.schedules import ScheduleRecord
from tasks.ledger.snapshots import ClusterSnapshot, OperationSnapshot, WaitingSnapshot
from tasks.runtime.clock import Clock
from tasks.runtime.redis_client import Script

LUA = Path(__file__).parent / "lua"
RECENTLY_MS = 60_000
MAX_REPORTED = 10_000
REPORT_KEPT_S = 90 * 86_400

log = structlog.get_logger(__name__)

R = TypeVar("R", bound=Record)
T = TypeVar("T")


class LedgerReads:
    """Reads what decisions are made from. A record carries the version it was read at."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self.keys = keys
        self.clock = clock
        self.redis = redis
        self._reported: set[str] = set()
        self._cluster_snapshot = Script(redis, LUA / "cluster_snapshot.lua")
        self._waiting_snapshot = Script(redis, LUA / "waiting_snapshot.lua")

    async def request(self, request_id: str) -> Request | None:
        return await self._one(Request, self.keys.request(request_id))

    async def requests(
        self, request_ids: Iterable[str], *, readable_only: bool = False
    ) -> dict[str, Request]:
        """Return those of the requests that exist, by id.

        Args:
            readable_only: leave out those that cannot be read, which are reported, and raise nothing.
        """
        names = [self.keys.request(request_id) for request_id in request_ids]
        found = await self._many(Request, names, readable_only=readable_only)
        return {record.request_id: record for record in found if record is not None}

    async def operation(self, operation_id: str) -> Operation | None:
        return await self._one(Operation, self.keys.operation(operation_id))

    async def operations(
        self, operation_ids: Iterable[str], *, readable_only: bool = False
    ) -> dict[str, Operation]:
        """Return those of the operations that exist, by id; `readable_only` as for requests."""
        names = [self.keys.operation(operation_id) for operation_id in operation_ids]
        found = await self._many(Operation, names, readable_only=readable_only)
        return {record.operation_id: record for record in found if record is not None}

    async def cluster(self, cluster_id: str) -> Cluster:
        return await self._one_or(self.keys.cluster(cluster_id), Cluster(cluster_id=cluster_id))

    async def arrivals(self, cluster_id: str) -> Arrivals:
        return await self._one_or(self.keys.arrivals(cluster_id), Arrivals(cluster_id=cluster_id))

    async def zone(self, zone: str) -> Zone:
        return await self._one_or(self.keys.zone(zone), Zone(zone=zone))

    async def account(self) -> Account:
        return await self._one_or(self.keys.account, Account())

    async def pause(self, scope: str) -> Pause:
        return await self._one_or(self.keys.pause(scope), Pause(scope=scope))

    async def pauses(self, cluster_id: str) -> Pauses:
        """Return the pauses that can keep an operation of the cluster from being sent."""
        rows = await self._rows([self.keys.pause(EVERYTHING), self.keys.pause(cluster_id)])
        return self._pauses(cluster_id, *rows)

    async def cluster_snapshot(self, cluster_id: str, max_pools: int = 0) -> ClusterSnapshot:
        """Return the cluster, what can keep it from being planned, and the requests that wait there.

        `max_pools`: how many pools are read at most, those that have waited longest; 0 reads all.
        """
        names = self.keys
        cluster, account, everything, of_cluster, arrivals, more, *pools = await self._cluster_snapshot(
            [
                names.cluster(cluster_id),
                names.account,
                names.pause(EVERYTHING),
                names.pause(cluster_id),
                names.pools(cluster_id),
                names.arrivals(cluster_id),
                names.heads(cluster_id),
            ],
            [names.demand(cluster_id, ""), names.request(""), MAX_READ_OF_A_POOL, max_pools],
        )
        found: dict[str, list[Request]] = {}
        partly_read = set()
        for pool, *waiting in pools:
            rows = [(names.request(request_id), version, content) for version, content, request_id in waiting]
            found[pool] = await self._readable(Request, rows)
            if len(found[pool]) < len(rows):
                partly_read.add(pool)
        return ClusterSnapshot(
            _load_or(Cluster(cluster_id=cluster_id), names.cluster(cluster_id), *cluster),
            _load_or(Account(), names.account, *account),
            self._pauses(cluster_id, everything, of_cluster),
            found,
            _load_or(Arrivals(cluster_id=cluster_id), names.arrivals(cluster_id), *arrivals),
            frozenset(partly_read),
            bool(more),
        )

    async def waiting_snapshot(self, cluster_id: str) -> WaitingSnapshot:
        """Return what the requests that wait for nodes of the cluster depend on.

        Raises:
            UnreadableRecord: one of the records, but for the operation's, cannot be read.
        """
        names = self.keys
        keys = [
            names.cluster(cluster_id),
            names.account,
            names.pause(EVERYTHING),
            names.pause(cluster_id),
            names.suspended(Lane.SUBMISSIONS),
            names.heartbeats,
        ]
        cluster, account, everything, of_cluster, suspended, tick, locking = await self._waiting_snapshot(
            keys, [names.operation("")]
        )
        return WaitingSnapshot(
            _load_or(Cluster(cluster_id=cluster_id), names.cluster(cluster_id), *cluster),
            _load_or(Account(), names.account, *account),
            self._pauses(cluster_id, everything, of_cluster),
            await self._locking(locking),
            self._if_ahead(suspended),
            int(tick[1]) if tick else None,
        )

    async def _locking(self, row: Sequence[str]) -> Operation | None:
        if not row or not row[1]:
            return None
        version, content, operation_id = row
        try:
            return _load_locking(self.keys.operation(operation_id), version, content)
        except UnreadableRecord as error:
            await self.report_unreadable(error)
            return None

    async def operation_snapshot(self, operation_id: str) -> OperationSnapshot | None:
        """Return the operation with the records that its steps touch, or None if it is gone.

        Raises:
            UnreadableRecord: one of them cannot be read.
        """
        operation = await self.operation(operation_id)
        if operation is None:
            return None
        return (await self._snapshots({operation_id: operation}, readable_only=False)).get(operation_id)

    async def operation_snapshots(self, operation_ids: Iterable[str]) -> dict[str, OperationSnapshot]:
        """Return the snapshots of those operations that exist, in two round trips for all of them.

        One that cannot be read, or whose requests cannot, is left out and reported: a version that can read
        it brings it on.
        """
        operations = await self.operations(operation_ids, readable_only=True)
        return await self._snapshots(operations, readable_only=True) if operations else {}

    async def _snapshots(
        self, operations: Mapping[str, Operation], *, readable_only: bool
    ) -> dict[str, OperationSnapshot]:
        names = self.keys
        clusters = sorted({operation.cluster_id for operation in operations.values()})
        requests = sorted({name for operation in operations.values() for name in operation.request_ids})
        keys = [names.account, names.pause(EVERYTHING)]
        keys += [key for name in clusters for key in (names.cluster(name), names.pause(name))]
        account, everything, *rows = await self._rows([*keys, *map(names.request, requests)])
        found = dict(zip(clusters, zip(rows[::2], rows[1::2], strict=False), strict=False))
        served = {
            name: (names.request(name), *row)
            for name, row in zip(requests, rows[2 * len(clusters) :], strict=True)
            if row[1] is not None
        }
        snapshots = {}
        for name, operation in operations.items():
            of_cluster, pause = found[operation.cluster_id]
            ids = [request_id for request_id in operation.request_ids if request_id in served]
            try:
                snapshots[name] = OperationSnapshot(
                    operation,
                    {request_id: load(Request, *served[request_id]) for request_id in ids},
                    _load_or(
                        Cluster(cluster_id=operation.cluster_id),
                        names.cluster(operation.cluster_id),
                        *of_cluster,
                    ),
                    _load_or(Account(), names.account, *account),
                    self._pauses(operation.cluster_id, everything, pause),
                )
            except UnreadableRecord as error:
                if not readable_only:
                    raise
                await self.report_unreadable(error)
        return snapshots

    async def running(self, zone: str) -> dict[str, tuple[str, int]]:
        """Return the zone's running jobs: operation id and time of sending (ms), by job id."""
        rows = await self.redis.zrange(self.keys.running(zone), 0, -1, withscores=True)
        found = {}
        for row in rows:
            member, score = cast("tuple[str, float]", row)
            job_id, _, operation_id = str(member).partition(" ")
            found[job_id] = (operation_id, int(score))
        return found

    async def jobs(self, cluster_id: str) -> dict[str, str]:
        """Return the operation that owns each known job of the cluster, by job id."""
        members = await self.redis.zrange(self.keys.jobs(cluster_id), 0, -1)
        pairs = (str(member).partition(" ") for member in members)
        return {job_id: operation_id for job_id, _, operation_id in pairs}

    async def job_owners(self, cluster_id: str, job_ids: Sequence[str]) -> dict[str, str]:
        """Return the operations, of any cluster, that own those of the jobs that are known.

        An earlier version kept only the list of each cluster.
        """
        if not job_ids:
            return {}
        of_cluster = await self.jobs(cluster_id)
        owners = await self.redis.mget([self.keys.job(job_id) for job_id in job_ids])
        known = {job_id: str(owner) for job_id, owner in zip(job_ids, owners, strict=True) if owner}
        return {job_id: of_cluster[job_id] for job_id in job_ids if job_id in of_cluster} | known

    async def outbox(self, limit: int) -> list[tuple[str, str]]:
        """Return task ids and the requests whose outcome they wait for, oldest first."""
        members = await self.redis.zrange(self.keys.outbox, 0, limit - 1)
        # A request id has no space in it, whatever a producer makes of a task id.
        pairs = (str(member).rpartition(" ") for member in members)
        return [(task_id, request_id) for task_id, _, request_id in pairs]

    async def outcomes(self, request_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return the outcomes of those of the requests that have ended.

        The public key may have been deleted by anybody who reads it; the record has all that it said.
        """
        if not request_ids:
            return []
        texts = await self.redis.mget([self.keys.outcome(request_id) for request_id in request_ids])
        found = {}
        for name, text in zip(request_ids, texts, strict=True):
            if (outcome := parsed_object(text)) is not None:
                found[name] = outcome
        left = set(request_ids) - found.keys()
        for name, request in (await self.requests(left, readable_only=True)).items():
            if request.ended:
                found[name] = outcome_of(request).model_dump(mode="json")
        return [found.get(name) for name in request_ids]

    async def current_outcome(self, request_id: str) -> dict[str, Any] | None:
        """Return the outcome of a request with nodes that came after its end: its public key lacks those."""
        request = await self.request(request_id)
        return None if request is None or not request.ended else outcome_of(request).model_dump(mode="json")

    async def outcomes_for(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any] | None]:
        """Return what each pair of the outbox tells its task: an outcome, or an answer of its own."""
        requests = [name for _, name in pairs if name != ANSWER]
        tasks = [task_id for task_id, name in pairs if name == ANSWER]
        outcomes = dict(zip(requests, await self.outcomes(requests), strict=True))
        answers = dict(zip(tasks, await self.answers(tasks), strict=True))
        return [answers[task_id] if name == ANSWER else outcomes[name] for task_id, name in pairs]

    async def progress(self, until: int, limit: int) -> list[tuple[str, int]]:
        """Return requests whose tasks are to be told of their state by `until` (ms), and since when."""
        found = await cast(
            "Any",
            self.redis.zrange(
                self.keys.progress, "-inf", until, byscore=True, offset=0, num=limit, withscores=True
            ),
        )
        return [(str(request_id), int(at)) for request_id, at in found]

    async def waiters(self, request_ids: Sequence[str]) -> list[list[str]]:
        """Return the Celery tasks that wait for each of the requests."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for request_id in request_ids:
                pipe.smembers(self.keys.waiters(request_id))
            found = await pipe.execute() if request_ids else []
        return [sorted(map(str, tasks)) for tasks in found]

    async def answers(self, task_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return what each of the tasks is to be answered that has no request of its own."""
        texts = await self.redis.mget([self.keys.answer(task_id) for task_id in task_ids]) if task_ids else []
        return [parsed_object(text) for text in texts]

    async def schedule(self, name: str) -> ScheduleRecord | None:
        return await self._one(ScheduleRecord, self.keys.schedule(name))

    async def schedule_names(self) -> set[str]:
        """Return the names of the schedules that are in force."""
        return set(await cast("Any", self.redis.smembers(self.keys.schedules)))

    async def submissions_suspended_until(self) -> int | None:
        return self._if_ahead(await self.redis.get(self.keys.suspended(Lane.SUBMISSIONS)))

    def _if_ahead(self, until: Any) -> int | None:
        return int(until) if until and int(until) > self.clock.now_ms() else None

    async def submissions_waited_recently(self) -> bool:
        """Return whether submissions wait for API calls, or did a minute ago: they try again and again."""
        until = await self.redis.get(self.keys.suspended(Lane.SUBMISSIONS))
        return until is not None and int(until) + RECENTLY_MS > self.clock.now_ms()

    def _pauses(self, cluster_id: str, everything: Sequence[Any], of_cluster: Sequence[Any]) -> Pauses:
        scopes = ((EVERYTHING, everything), (cluster_id, of_cluster))
        return Pauses(*(_load_or(Pause(scope=name), self.keys.pause(name), *row) for name, row in scopes))

    async def _one(self, kind: type[R], key: str) -> R | None:
        (record,) = await self._many(kind, [key])
        return record

    async def _one_or(self, key: str, fresh: R) -> R:
        ((version, content),) = await self._rows([key])
        return _load_or(fresh, key, version, content)

    async def _many(
        self, kind: type[R], keys: Sequence[str], *, readable_only: bool = False
    ) -> list[R] | list[R | None]:
        rows = await self._rows(keys)
        if readable_only:
            found = zip(keys, rows, strict=True)
            return await self._readable(kind, [(key, *row) for key, row in found if row[1] is not None])
        return [
            None if content is None else load(kind, key, version, content)
            for key, (version, content) in zip(keys, rows, strict=True)
        ]

    async def _readable(self, kind: type[R], rows: Iterable[tuple[str, str, str]]) -> list[R]:
        """Return those of the records that can be read, and report the others."""
        found = []
        for row in rows:
            try:
                found.append(load(kind, *row))
            except UnreadableRecord as error:
                await self.report_unreadable(error)
        return found

    async def unless_unreadable(self, step: Awaitable[T]) -> T | None:
        """Await `step`. If it meets a record that cannot be read, report the record and return None."""
        try:
            return await step
        except UnreadableRecord as error:
            await self.report_unreadable(error)
            return None

    async def report_unreadable(self, error: UnreadableRecord) -> None:
        """Log the record, once a process, and note it for `scaleout doctor`."""
        if error.key in self._reported:
            return
        log.error("record_unreadable", key=error.key, detail=str(error))
        await self.redis.zadd(self.keys.unreadable, {error.key: self.clock.now_ms()})
        await self.redis.expire(self.keys.unreadable, REPORT_KEPT_S)
        if len(self._reported) < MAX_REPORTED:
            self._reported.add(error.key)

    async def _rows(self, keys: Sequence[str]) -> list[tuple[Any, Any]]:
        """Return version and content of each record, in one round trip."""
        if len(keys) == 1:
            return [tuple(await cast("Any", self.redis.hmget(keys[0], ["version", "content"])))]
        async with self.redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hmget(key, ["version", "content"])
            return [tuple(row) for row in await pipe.execute()]


@lru_cache(maxsize=64)
def _load_locking(key: str, version: str, content: str) -> Operation:
    """Read an operation. Many requests that arrive for a cluster meet the same one, which may be large."""
    return load(Operation, key, version, content)


def parsed_object(text: str | bytes | None) -> dict[str, Any] | None:
    """Return a JSON object, or None if there is none, or something else."""
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _load_or(fresh: R, where: str, version: str | None, content: str | None) -> R:
    """Return the record, or `fresh` if nothing but its version is there yet."""
    if content is None:
        return fresh.model_copy(update={"version": int(version or 0)})
    return load(type(fresh), where, str(version), content)
