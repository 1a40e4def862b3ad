"""The entries of a change set that publish outcomes. Times in ms."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.contract.outcome import LATE_NODES, Outcome
from tasks.ledger.due import OUTBOX, Due, DueKind
from tasks.ledger.keys import Command, Key, Keys
from tasks.ledger.notices import Notify, notice_of

MIN_RECORDS_TTL_S = 7 * 86_400
ENDED = "ended:"  # counter of requests by status
ANSWER = "="  # in the outbox in place of a request's id


@dataclass(frozen=True, slots=True)
class Retention:
    """How long outcomes are kept, in seconds, and how long the stream may grow."""

    outcome_ttl_s: int
    stream_maxlen: int

    @property
    def records_ttl_s(self) -> int:
        """How long an ended request is known, in seconds: a message with its id buys nothing until then."""
        return max(self.outcome_ttl_s, MIN_RECORDS_TTL_S)


@dataclass(frozen=True, slots=True)
class Publish:
    """The request has ended at `at`: its outcome is written, and waiting tasks are added to the outbox."""

    outcome: Outcome
    at: int

    def commands(self, keys: Keys, kept: Retention) -> Iterator[Command]:
        request_id, deadline = self.outcome.request_id, Due(DueKind.REQUEST, self.outcome.request_id)
        text = self.outcome.model_dump_json()
        yield "set", keys.outcome(request_id), text, kept.outcome_ttl_s
        yield stream_entry(keys, kept, request_id, self.outcome.status, text)
        yield "count", keys.counters, f"{ENDED}{self.outcome.status}", 1
        yield "zrem", keys.index("open"), request_id
        yield "zadd", keys.ended, self.at, request_id
        yield "trim", keys.ended, self.at - kept.records_ttl_s * 1000
        outcome = self.outcome
        for index in ended_indexes(
            keys, status=outcome.status, cluster_id=outcome.cluster_id, requested_by=outcome.requested_by
        ):
            yield "zadd", index, self.at, request_id
            yield "trim", index, self.at - kept.records_ttl_s * 1000
            yield "expire", index, kept.records_ttl_s
        yield "zrem", keys.due(deadline.lane), str(deadline)
        outbox = (keys.outbox, keys.due(OUTBOX.lane))
        yield "notify", keys.waiters(request_id), *outbox, request_id, self.at, str(OUTBOX)
        yield from Notify(notice_of("outcome", request_id, self.at)).commands(keys)


def ended_indexes(
    keys: Keys, *, status: str | None = None, cluster_id: str | None = None, requested_by: str | None = None
) -> Iterator[Key]:
    """Yield the sorted set, by end, of the ended requests of each of these that is given."""
    given = {"cluster": cluster_id, "producer": requested_by, "status": status}
    for kind, name in given.items():
        if name is not None:
            yield keys.ended_of(f"{kind}:{name}")


@dataclass(frozen=True, slots=True)
class Answer:
    """The Celery task is answered alone, at `at`: no request is kept under its id."""

    task_id: str
    answer: Mapping[str, Any]
    at: int

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield "set", keys.answer(self.task_id), json.dumps(self.answer), MIN_RECORDS_TTL_S
        yield "zadd", keys.outbox, self.at, f"{self.task_id} {ANSWER}"
        yield "zadd", keys.due(OUTBOX.lane), self.at, str(OUTBOX)


@dataclass(frozen=True, slots=True)
class PublishLateNodes:
    """Nodes arrived after the request had ended: the current outcome goes to the stream."""

    outcome: Outcome
    at: int

    def commands(self, keys: Keys, kept: Retention) -> Iterator[Command]:
        request_id = self.outcome.request_id
        yield stream_entry(keys, kept, request_id, LATE_NODES, self.outcome.model_dump_json())
        yield from Notify(notice_of("late_nodes", request_id, self.at)).commands(keys)


def stream_entry(keys: Keys, kept: Retention, request_id: str, status: str, outcome: str) -> Command:
    fields = ("request_id", request_id, "status", status, "outcome", outcome)
    return "xadd", keys.outcomes, kept.stream_maxlen, *fields
