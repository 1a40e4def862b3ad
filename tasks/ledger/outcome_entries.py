"""The entries of a change set that publish outcomes. Times in ms."""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.contract.outcome import LATE_NODES, Outcome
from tasks.ledger.due import OUTBOX, Due, DueKind
from tasks.ledger.keys import Command, Keys


@dataclass(frozen=True, slots=True)
class Retention:
    """How long outcomes and what belongs to them are kept, in seconds, and how long the stream may grow."""

    outcome_ttl_s: int
    stream_maxlen: int


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
        yield "zrem", keys.index("open"), request_id
        yield "zadd", keys.ended, self.at, request_id
        yield "trim", keys.ended, self.at - kept.outcome_ttl_s * 1000
        yield "zrem", keys.due(deadline.lane), str(deadline)
        outbox = (keys.outbox, keys.due(OUTBOX.lane))
        yield "notify", keys.waiters(request_id), *outbox, request_id, self.at, str(OUTBOX)


@dataclass(frozen=True, slots=True)
class PublishLateNodes:
    """Nodes arrived after the request had ended: the current outcome goes to the stream."""

    outcome: Outcome

    def commands(self, keys: Keys, kept: Retention) -> Iterator[Command]:
        yield stream_entry(keys, kept, self.outcome.request_id, LATE_NODES, self.outcome.model_dump_json())


def stream_entry(keys: Keys, kept: Retention, request_id: str, status: str, outcome: str) -> Command:
    fields = ("request_id", request_id, "status", status, "outcome", outcome)
    return "xadd", keys.outcomes, kept.stream_maxlen, *fields
