"""Changes as the argument of commit.lua: every key once, every write by the key's index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pydantic_core import to_json

from config.timestamps import timestamp
from tasks.contract.outcome import LATE_NODES, Outcome
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.due import OUTBOX, Due, DueKind, Lane
from tasks.ledger.durations import KEPT, KEPT_S, Duration, Pool
from tasks.ledger.keys import Keys
from tasks.ledger.pauses import Pause
from tasks.ledger.records import Account, Cluster, Operation, Record, Request, Zone
from tasks.ledger.schedules import ScheduleRecord
from tasks.ledger.usage_counters import Entry, of_operation, of_request

MAX_HISTORY_LINE = 4_096
MAX_HISTORY_LINES = 500
MAX_JOURNAL_LINES = 1_000


class StepEncoding:
    """Collects the keys and writes of one step."""

    def __init__(self, keys: Keys, now_ms: int, outcome_ttl_s: int, stream_maxlen: int) -> None:
        self._names = keys
        self._now_ms = now_ms
        self._ttl_s = outcome_ttl_s
        self._maxlen = stream_maxlen
        self._index: dict[str, int] = {}
        self._step: dict[str, list[list[object]]] = {}
        for name in (keys.answered, keys.answers, keys.epoch):
            self._key(name)

    def encode(self, changes: Changes) -> tuple[list[str], bytes]:
        """The script's KEYS, and the step as JSON."""
        self._records(changes)
        self._queues(changes)
        self._indexes(changes)
        for pool, duration in changes.durations:
            self._duration(pool, duration)
        for name, there in changes.schedules.items():
            self._write("sadd" if there else "srem", self._names.schedules, name)
        for event in changes.events:
            self._history(event)
        for outcome in changes.outcomes:
            self._outcome(outcome, changes.ended_at[outcome.request_id])
        for outcome in changes.late:
            self._stream(outcome, LATE_NODES)
        # Last, so that the keys are there already when they get their time to live.
        for record in changes.expire:
            self._expire(record)
        return list(self._index), to_json(self._step)

    def _records(self, changes: Changes) -> None:
        for record in changes.checks:
            self._write("check", self.key_of(record), record.version)
        for record in changes.puts:
            self._write("check", self.key_of(record), record.version)
            self._write("put", self.key_of(record), record.content())
            if isinstance(record, Request):
                self._count(of_request(record))
            elif isinstance(record, Operation):
                self._count(of_operation(record, self._now_ms, enters=record.version == 0))
        self._count(changes.entries)
        for limit in changes.within:
            self._meter("within", limit.scope, limit.window_s, limit.nodes, limit.most)

    def _count(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            at = "+inf" if entry.at is None else entry.at
            counted = (entry.name, entry.nodes, at, int(entry.enters))
            self._meter("spend", entry.scope, entry.window_s, *counted)

    def _meter(self, what: str, scope: str, window_s: int, *values: object) -> None:
        nodes = self._key(self._names.meter_nodes(scope, window_s))
        self._write(what, self._names.meter_times(scope, window_s), nodes, window_s * 1000, *values)

    def _queues(self, changes: Changes) -> None:
        names = self._names
        for cluster_id, pool, request_id, order in changes.arrivals:
            self._write("zadd", names.demand(cluster_id, pool), order, request_id)
            self._write("sadd", names.pools(cluster_id), pool)
            # Whoever plans this cluster just now must see that there is more to plan.
            self._write("bump", names.cluster(cluster_id))
        for cluster_id, pool, request_id, order_or_none in changes.demand:
            if order_or_none is None:
                self._write("zrem", names.demand(cluster_id, pool), request_id)
            else:
                self._write("zadd", names.demand(cluster_id, pool), order_or_none, request_id)
                self._write("sadd", names.pools(cluster_id), pool)
        for cluster_id, pool in changes.empty_pools:
            self._write("srem", names.pools(cluster_id), pool)
        for due, at in changes.due.items():
            self._scored(names.due(due.lane), str(due), at)
        for due, at in changes.sooner.items():
            self._write("sooner", names.due(due.lane), at, str(due))
        for due, at in changes.unless_due.items():
            self._write("unless", names.due(due.lane), at, str(due))
        for cluster_id, at in changes.wake.items():
            pools = self._key(names.pools(cluster_id))
            due = Due(DueKind.CLUSTER, cluster_id)
            self._write("wake", names.due(due.lane), pools, at, str(due))

    def _indexes(self, changes: Changes) -> None:
        names = self._names
        for zone, job_id, operation_id, at in changes.running:
            self._scored(names.running(zone), f"{job_id} {operation_id}", at)
        for cluster_id, job_id, operation_id, at in changes.jobs:
            self._write("zadd", names.jobs(cluster_id), at, f"{job_id} {operation_id}")
        for cluster_id, before in changes.forget_jobs.items():
            self._write("trim", names.jobs(cluster_id), before)
        for operation_id, at in changes.held.items():
            self._scored(names.held, operation_id, at)
        for scope, at in changes.paused.items():
            self._scored(names.paused, scope, at)
        for cluster_id, at in changes.broken.items():
            self._scored(names.broken, cluster_id, at)
        for scope, due in changes.parked:
            self._write("zadd", names.parked(scope), self._now_ms, str(due))
        for scope, at in changes.unparked.items():
            self._write("move", names.parked(scope), self._key(names.due(Lane.SUBMISSIONS)), at)
        for request_id, at in changes.opened.items():
            self._write("zadd", names.open, at, request_id)
        for request_id, task_id in changes.waiters:
            self._write("sadd", names.waiters(request_id), task_id)

    def _duration(self, pool: Pool, duration: Duration) -> None:
        names = self._names
        key = names.durations(pool.cluster_id, pool.name)
        self._write("rpush", key, duration.text(), KEPT)
        self._write("expire", key, KEPT_S)
        self._write("zadd", names.pools_seen, duration.at, pool.text())
        self._write("trim", names.pools_seen, duration.at - KEPT_S * 1000)

    def _outcome(self, outcome: Outcome, at: int) -> None:
        names, request_id = self._names, outcome.request_id
        self._write("set", names.outcome(request_id), outcome.model_dump_json(), self._ttl_s)
        self._stream(outcome, outcome.status)
        self._write("zrem", names.open, request_id)
        self._write("zadd", names.ended, at, request_id)
        self._write("trim", names.ended, at - self._ttl_s * 1000)
        deadline = Due(DueKind.REQUEST, request_id)
        self._write("zrem", names.due(deadline.lane), str(deadline))
        waiters, outbox, due = (
            self._key(name) for name in (names.waiters(request_id), names.outbox, names.due(OUTBOX.lane))
        )
        self._step.setdefault("tell", []).append([waiters, outbox, due, request_id, at, str(OUTBOX)])

    def _stream(self, outcome: Outcome, status: str) -> None:
        fields = ("request_id", outcome.request_id, "status", status, "outcome", outcome.model_dump_json())
        self._write("xadd", self._names.outcomes, self._maxlen, *fields)

    def _history(self, event: Event) -> None:
        line = history_line(event, self._now_ms)
        for request_id in event.requests:
            self._write("rpush", self._names.history(request_id), line, MAX_HISTORY_LINES)
        if event.noted:
            self._write("rpush", self._names.journal, line, MAX_JOURNAL_LINES)
            self._write("count", self._names.counters, event.name)

    def _expire(self, record: Record) -> None:
        self._write("expire", self.key_of(record), self._ttl_s)
        if isinstance(record, Request):
            self._write("expire", self._names.history(record.request_id), self._ttl_s)
            for share in record.shares:
                self._write("expire", self._names.operation(share.operation_id), self._ttl_s)

    def _scored(self, key: str, member: str, score: int | None) -> None:
        if score is None:
            self._write("zrem", key, member)
        else:
            self._write("zadd", key, score, member)

    def _write(self, what: str, key: str, *values: object) -> None:
        self._step.setdefault(what, []).append([self._key(key), *values])

    def _key(self, name: str) -> int:
        return self._index.setdefault(name, len(self._index) + 1)

    def key_of(self, record: Record) -> str:
        match record:
            case Request():
                return self._names.request(record.request_id)
            case Operation():
                return self._names.operation(record.operation_id)
            case Cluster():
                return self._names.cluster(record.cluster_id)
            case Zone():
                return self._names.zone(record.zone)
            case Account():
                return self._names.account
            case Pause():
                return self._names.pause(record.scope)
            case ScheduleRecord():
                return self._names.schedule(record.name)
            case _:
                raise TypeError(f"{type(record).__name__} is no record of the ledger")


def history_line(event: Event, now_ms: int) -> str:
    """One line of a request's history, as JSON."""
    fields: Mapping[str, object] = {"at": timestamp(now_ms), "event": event.name, **event.fields}
    line = json.dumps(fields, ensure_ascii=False, default=str)
    if len(line) > MAX_HISTORY_LINE:
        line = json.dumps({"at": timestamp(now_ms), "event": event.name, "cut": line[:MAX_HISTORY_LINE]})
    return line
