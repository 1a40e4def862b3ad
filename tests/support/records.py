"""Records to start from, and what a step makes of them."""

from __future__ import annotations

from typing import Any, TypeVar

from tasks.contract.request import ScaleOutRequest
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.commit_encoding import StepEncoding
from tasks.ledger.due import Due, DueKind
from tasks.ledger.keys import Keys
from tasks.ledger.records import Account, Allocation, Cluster, Operation, Record, Request, Share, State

R = TypeVar("R", bound=Record)

NOW = 1_700_000_000_000
SENT = NOW - 60_000
AN_HOUR = 3_600_000

CLUSTER_DUE = Due(DueKind.CLUSTER, "ehpc-a")
OPERATION_DUE = Due(DueKind.OPERATION, "op-1")
SUBMISSION_DUE = Due(DueKind.SUBMISSION, "op-1")
ZONE_DUE = Due(DueKind.ZONE, "jn1a")

_ENCODING = StepEncoding(Keys("scaleout"), NOW, 60, 100)


def request(request_id: str = "r-1", nodes: int = 2, **more: Any) -> Request:
    """A request for `nodes` nodes, all of them still wanted. `more`: fields of the record or of its form."""
    of_form = {name: more.pop(name) for name in list(more) if name in ScaleOutRequest.model_fields}
    given = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": nodes}
    form = ScaleOutRequest.model_validate({**given, **of_form})
    record = {
        "request_id": request_id,
        "asked": form,
        "fingerprint": form.fingerprint(),
        "accepted_at": NOW - AN_HOUR,
        "deadline_at": NOW + AN_HOUR,
        "wanted": nodes,
        "version": 3,
    }
    return Request(**{**record, **more})


def share(operation_id: str = "op-1", nodes: int = 2, state: State = State.RUNNING, **more: Any) -> Share:
    return Share(operation_id=operation_id, node_count=nodes, state=state, **more)


def served(operation: Operation, request_id: str = "r-1", nodes: int = 2, **more: Any) -> Request:
    """A request whose nodes are all in `operation`."""
    part = share(operation.operation_id, nodes, operation.state, job_id=operation.job_id)
    return request(request_id, **{"nodes": nodes, "wanted": 0, "shares": (part,), **more})


def operation(parts: dict[str, int] | None = None, state: State = State.RUNNING, **more: Any) -> Operation:
    """An operation that gives `parts` nodes to requests by id; 2 to r-1 if nothing is said."""
    given = {
        "operation_id": "op-1",
        "cluster_id": "ehpc-a",
        "zone": "jn1a",
        "node_role": "compute",
        "state": state,
        "allocations": tuple(
            Allocation(request_id=name, node_count=nodes) for name, nodes in (parts or {"r-1": 2}).items()
        ),
        "planned_at": SENT - 2_000,
        "version": 5,
    }
    if state is not State.PLANNED:
        given |= {"sent_at": SENT, "baseline": ("j-before",), "body": "{}", "listed_since": SENT - 70_000}
    if state is State.RUNNING:
        given["job_id"] = "j-1"
    return Operation(**{**given, **more})


def cluster(**more: Any) -> Cluster:
    """A cluster whose gate is held by op-1."""
    return Cluster(**{"cluster_id": "ehpc-a", "gate": "op-1", "version": 7, **more})


def name_of(record: Record) -> str:
    return _ENCODING.key_of(record)


def written(changes: Changes, record: R) -> R:
    """`record` as `changes` writes it: exactly once, at the version that it was read at."""
    check(changes)
    (found,) = (put for put in changes.puts if name_of(put) == name_of(record))
    assert isinstance(found, type(record))
    assert found.version == record.version
    return found


def is_written(changes: Changes, record: Record) -> bool:
    return any(name_of(put) == name_of(record) for put in changes.puts)


def expires(changes: Changes, record: Record) -> bool:
    return name_of(record) in map(name_of, changes.expire)


def told(changes: Changes, name: str) -> Event:
    """The one event of that name."""
    (event,) = (event for event in changes.events if event.name == name)
    return event


def share_of(request: Request, operation_id: str = "op-1") -> Share:
    (found,) = (part for part in request.shares if part.operation_id == operation_id)
    return found


def check(changes: Changes) -> None:
    """What holds for every step: no record is written twice, and outcomes say the same as their records."""
    puts = [name_of(put) for put in changes.puts]
    assert len(puts) == len(set(puts))
    assert not set(puts) & set(map(name_of, changes.checks))
    ended = {put.request_id: put for put in changes.puts if isinstance(put, Request) and put.ended}
    for outcome in changes.outcomes:
        record = ended[outcome.request_id]
        assert outcome.status == record.status
        assert outcome.nodes_added == record.nodes_added
        assert changes.ended_at[outcome.request_id] == record.finished_at
        assert record.wanted == 0
    # It can be written as it is.
    StepEncoding(Keys("scaleout"), NOW, 60, 100).encode(changes)


NO_ACCOUNT_TROUBLE = Account()
