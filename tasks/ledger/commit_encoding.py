"""A change set as the arguments of commit.lua: every key once, every command by the key's index."""

import json
from collections.abc import Iterable, Mapping

from pydantic_core import to_json

from config.timestamps import timestamp
from tasks.ledger.change_entries import Tell
from tasks.ledger.change_set import ChangeSet, DueRule, DueTime
from tasks.ledger.due import Due
from tasks.ledger.events import Event
from tasks.ledger.keys import Command, Key, Keys, short_name
from tasks.ledger.outcome_entries import Publish, PublishLateNodes, Retention
from tasks.ledger.pauses import Pause
from tasks.ledger.record import Record
from tasks.ledger.records import Account, Arrivals, Cluster, Operation, Request, Zone
from tasks.ledger.schedules import ScheduleRecord
from tasks.ledger.usage_counters import of_operation, of_request

TELL_AFTER_MS = 300  # what changes soon after is told with it
TELL_CHANGES_AFTER_MS = 1_000  # a plan, its call and its job usually follow each other within a second
MAX_HISTORY_LINE = 4_096
MAX_HISTORY_LINES = 500
MAX_JOURNAL_LINES = 1_000
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class CommitEncoding:
    """Collects the keys and commands of one step. `now_ms`: for history lines and usage."""

    def __init__(self, keys: Keys, now_ms: int, retention: Retention) -> None:
        self._names = keys
        self._now_ms = now_ms
        self._kept = retention
        self._index: dict[str, int] = {}
        self._step: dict[str, list[list[object]]] = {}
        for name in (keys.call_times, keys.call_results, keys.epoch, keys.steps):
            self._key(name)

    def encode(self, changes: ChangeSet) -> tuple[list[str], bytes]:
        """Return the script's KEYS, and the step as JSON."""
        for record in changes.expected:
            self._add("check", self.key_of(record), record.version)
        for record in changes.writes:
            self._write(record)
        for request in changes.open_requests:
            tell = Tell(request.request_id, tell_at(request, self._now_ms), self._now_ms + TELL_AFTER_MS)
            self._add_all(tell.commands(self._names))
        for due, time in changes.due.items():
            self._due(due, time)
        for entry in changes.entries:
            if isinstance(entry, Publish | PublishLateNodes):
                self._add_all(entry.commands(self._names, self._kept))
            else:
                self._add_all(entry.commands(self._names))
        for event in changes.events:
            self._event(event)
        # Last, so that the keys are there already when they get their time to live.
        for record in changes.expiring:
            self._expire(record)
        return list(self._index), to_json(self._step)

    def _write(self, record: Record) -> None:
        self._add("check", self.key_of(record), record.version)
        self._add("put", self.key_of(record), record.content())
        counted = of_request(record) if isinstance(record, Request) else ()
        if isinstance(record, Operation):
            counted = of_operation(record, self._now_ms, enters=record.version == 0)
        for entry in counted:
            self._add_all(entry.commands(self._names))

    def _due(self, due: Due, time: DueTime) -> None:
        key = self._names.due(due.lane)
        if time.at is None:
            self._add("zrem", key, str(due))
        elif time.rule is DueRule.AT:
            self._add("zadd", key, time.at, str(due))
        elif time.rule is DueRule.IF_DEMAND:
            self._add("wake", key, self._names.pools(due.name), time.at, str(due))
        else:
            self._add(time.rule.value, key, time.at, str(due))

    def _event(self, event: Event) -> None:
        line = history_line(event, self._now_ms)
        for request_id in event.requests:
            self._add("rpush", self._names.history(request_id), line, MAX_HISTORY_LINES)
        if event.in_journal:
            self._add("rpush", self._names.journal, line, MAX_JOURNAL_LINES)
            self._add("count", self._names.counters, event.name, 1)

    def _expire(self, record: Record) -> None:
        keys = [self.key_of(record)]
        if isinstance(record, Request):
            keys += [self._names.operation(part.operation_id) for part in record.assignments]
            self._add("expire", self._names.history(record.request_id), self._kept.records_ttl_s)
        for key in keys:
            self._add("expire", key, self._kept.records_ttl_s)
            self._add("zadd", self._names.settled, self._now_ms, short_name(self._names, key))
        self._add("trim", self._names.settled, self._now_ms - self._kept.records_ttl_s * 1000)
        self._add("expire", self._names.settled, self._kept.records_ttl_s)

    def _add_all(self, commands: Iterable[Command]) -> None:
        for word, *values in commands:
            self._add(str(word), *values)

    def _add(self, word: str, *values: object) -> None:
        encoded = [self._key(value) if isinstance(value, Key) else value for value in values]
        self._step.setdefault(word, []).append(encoded)

    def _key(self, name: str) -> int:
        return self._index.setdefault(name, len(self._index) + 1)

    def key_of(self, record: Record) -> Key:
        """Return the key of a record. Raises TypeError for what the ledger does not keep."""
        match record:
            case Request():
                return self._names.request(record.request_id)
            case Operation():
                return self._names.operation(record.operation_id)
            case Cluster():
                return self._names.cluster(record.cluster_id)
            case Arrivals():
                return self._names.arrivals(record.cluster_id)
            case Zone():
                return self._names.zone(record.zone)
            case Account():
                return self._names.account
            case Pause():
                return self._names.pause(record.scope)
            case ScheduleRecord():
                return self._names.schedule(record.name)
            case _:
                raise TypeError(f"the ledger keeps no {type(record).__name__}")


def tell_at(request: Request, now_ms: int) -> int:
    """Return when (ms) the tasks that wait for a request are told of what has just changed."""
    return now_ms + (TELL_AFTER_MS if request.version == 0 else TELL_CHANGES_AFTER_MS)


def history_line(event: Event, now_ms: int) -> str:
    """Return one line of a request's history as JSON, cut if it is too long."""
    fields: Mapping[str, object] = {"at": timestamp(now_ms), "event": event.name, **event.fields}
    line = _encode(fields)
    if len(line) > MAX_HISTORY_LINE:
        line = json.dumps({"at": timestamp(now_ms), "event": event.name, "cut": line[:MAX_HISTORY_LINE]})
    return line
