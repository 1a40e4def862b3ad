"""Records to start from, and what a step makes of them."""

from typing import Any, TypeVar

from tasks.contract.outcome import Outcome
from tasks.contract.request import ScaleOutRequest
from tasks.ledger.change_entries import (
    Arrive,
    Dequeue,
    Enqueue,
    ForgetPool,
    Index,
    KeepDuration,
    Listed,
    OwnJob,
    Park,
    PollJob,
    Subscribe,
    Unpark,
)
from tasks.ledger.change_set import ChangeSet, DueRule
from tasks.ledger.commit_encoding import CommitEncoding
from tasks.ledger.due import Due, DueKind
from tasks.ledger.durations import Duration
from tasks.ledger.events import Event
from tasks.ledger.keys import Keys
from tasks.ledger.outcome_entries import Publish, PublishLateNodes, Retention
from tasks.ledger.pauses import Pauses
from tasks.ledger.pools import Pool
from tasks.ledger.record import Record
from tasks.ledger.record_values import Allocation, Assignment, State
from tasks.ledger.records import Account, Arrivals, Cluster, Operation, Request
from tasks.ledger.snapshots import OperationSnapshot
from tasks.ledger.usage_entries import LimitCheck
from tasks.state_machine.decision import Rules

R = TypeVar("R", bound=Record)

NOW = 1_700_000_000_000
SENT = NOW - 60_000
AN_HOUR = 3_600_000

CLUSTER_DUE = Due(DueKind.CLUSTER, "ehpc-a")
OPERATION_DUE = Due(DueKind.OPERATION, "op-1")
SUBMISSION_DUE = Due(DueKind.SUBMISSION, "op-1")
ZONE_DUE = Due(DueKind.ZONE, "jn1a")

ACTION = "HpcClusterAddClusterNodes"
RULES = Rules(
    signature_ttl_ms=60_000,
    http_timeout_ms=30_000,
    lag_ms=10_000,
    poll_ms=5_000,
    job_action=ACTION,
    action_seen=True,
)

NO_ARRIVALS = Arrivals(cluster_id="ehpc-a")
_ENCODING = CommitEncoding(Keys("scaleout"), NOW, Retention(60, 100))


def request(request_id: str = "r-1", nodes: int = 2, **more: Any) -> Request:
    """A request for `nodes` nodes, all of them still wanted. `more`: fields of the record or of its form."""
    in_form = ScaleOutRequest.model_fields.keys() - {"not_before"}
    of_form = {name: more.pop(name) for name in list(more) if name in in_form}
    given = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": nodes}
    spec = ScaleOutRequest.model_validate({**given, **of_form})
    record = {
        "request_id": request_id,
        "spec": spec.content,
        "fingerprint": spec.fingerprint(),
        "accepted_at": NOW - AN_HOUR,
        "deadline_at": NOW + AN_HOUR,
        "unassigned_nodes": nodes,
        "version": 3,
    }
    return Request(**{**record, **more})


def assignment(
    operation_id: str = "op-1", nodes: int = 2, state: State = State.RUNNING, **more: Any
) -> Assignment:
    return Assignment(operation_id=operation_id, node_count=nodes, state=state, **more)


def served(operation: Operation, request_id: str = "r-1", nodes: int = 2, **more: Any) -> Request:
    """A request whose nodes are all in `operation`."""
    part = assignment(operation.operation_id, nodes, operation.state, job_id=operation.job_id)
    return request(request_id, **{"nodes": nodes, "unassigned_nodes": 0, "assignments": (part,), **more})


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
    """Return a cluster that op-1 has locked."""
    return Cluster(**{"cluster_id": "ehpc-a", "locked_by": "op-1", "version": 7, **more})


def snapshot(of: Operation, *requests: Request, at: Cluster | None = None) -> OperationSnapshot:
    """An operation with the records around it, on an account that nothing blocks."""
    by_id = {request.request_id: request for request in requests}
    return OperationSnapshot(of, by_id, at or cluster(), Account(), Pauses.none(of.cluster_id))


def name_of(record: Record) -> str:
    return _ENCODING.key_of(record)


def written(changes: ChangeSet, record: R) -> R:
    """`record` as `changes` writes it: exactly once, at the version that it was read at."""
    check(changes)
    (found,) = (put for put in changes.writes if name_of(put) == name_of(record))
    assert isinstance(found, type(record))
    assert found.version == record.version
    return found


def is_written(changes: ChangeSet, record: Record) -> bool:
    return any(name_of(put) == name_of(record) for put in changes.writes)


def expires(changes: ChangeSet, record: Record) -> bool:
    return name_of(record) in map(name_of, changes.expiring)


def recorded(changes: ChangeSet, name: str) -> Event:
    """The one event of that name."""
    (event,) = (event for event in changes.events if event.name == name)
    return event


def assignment_of(request: Request, operation_id: str = "op-1") -> Assignment:
    (found,) = (part for part in request.assignments if part.operation_id == operation_id)
    return found


def due(changes: ChangeSet, rule: DueRule = DueRule.AT) -> dict[Due, int | None]:
    """Return what becomes due by this rule."""
    return {entry: time.at for entry, time in changes.due.items() if time.rule is rule}


def woken(changes: ChangeSet) -> dict[str, int | None]:
    """Return the clusters that are planned if requests wait there, by when."""
    return {entry.name: at for entry, at in due(changes, DueRule.IF_DEMAND).items()}


def scheduled(times: dict[Due, int | None], rule: DueRule = DueRule.AT) -> ChangeSet:
    """Return a step that only makes entries due."""
    changes = ChangeSet()
    for entry, at in times.items():
        changes.schedule(entry, at, rule)
    return changes


def with_entries(*entries: Any) -> ChangeSet:
    """Return a step that has only these entries."""
    return ChangeSet(entries=list(entries))


def demand(changes: ChangeSet) -> list[tuple[str, str, str, int | None]]:
    """Return cluster, pool, request and position of what enters the queues; None for what leaves them."""
    found: list[tuple[str, str, str, int | None]] = []
    for one in changes.entries:
        if isinstance(one, Enqueue) and not isinstance(one, Arrive):
            found.append((one.cluster_id, one.pool, one.request_id, one.position))
        elif isinstance(one, Dequeue):
            found.append((one.cluster_id, one.pool, one.request_id, None))
    return found


def forgotten_pools(changes: ChangeSet) -> list[tuple[str, str]]:
    return [(one.cluster_id, one.pool) for one in changes.entries if isinstance(one, ForgetPool)]


def polled(changes: ChangeSet) -> list[tuple[str, str, str, int | None]]:
    """Return zone, job, operation and time of sending; None for a job that is polled no longer."""
    jobs = (one for one in changes.entries if isinstance(one, PollJob))
    return [(one.zone, one.job_id, one.operation_id, one.sent_at) for one in jobs]


def owned(changes: ChangeSet) -> list[OwnJob]:
    return [one for one in changes.entries if isinstance(one, OwnJob)]


def listed(changes: ChangeSet, index: Index) -> dict[str, int | None]:
    entries = (one for one in changes.entries if isinstance(one, Listed) and one.index is index)
    return {one.member: one.since for one in entries}


def parked(changes: ChangeSet) -> list[tuple[str, Due]]:
    return [(one.scope, one.due) for one in changes.entries if isinstance(one, Park)]


def unparked(changes: ChangeSet) -> dict[str, int]:
    return {one.scope: one.at for one in changes.entries if isinstance(one, Unpark)}


def durations(changes: ChangeSet) -> list[tuple[Pool, Duration]]:
    return [(one.pool, one.duration) for one in changes.entries if isinstance(one, KeepDuration)]


def late_outcomes(changes: ChangeSet) -> list[Outcome]:
    return [one.outcome for one in changes.entries if isinstance(one, PublishLateNodes)]


def limit_checks(changes: ChangeSet) -> list[LimitCheck]:
    return [one for one in changes.entries if isinstance(one, LimitCheck)]


def subscribers(changes: ChangeSet) -> list[tuple[str, str]]:
    return [(one.request_id, one.task_id) for one in changes.entries if isinstance(one, Subscribe)]


def check(changes: ChangeSet) -> None:
    """Check every step: no record is written twice, and outcomes agree with their records."""
    writes = [name_of(write) for write in changes.writes]
    assert len(writes) == len(set(writes))
    assert not set(writes) & set(map(name_of, changes.expected))
    ended = {
        write.request_id: write for write in changes.writes if isinstance(write, Request) and write.ended
    }
    for published in (one for one in changes.entries if isinstance(one, Publish)):
        record = ended[published.outcome.request_id]
        assert published.outcome.status == record.status
        assert published.outcome.nodes_added == record.nodes_added
        assert published.at == record.finished_at
        assert record.unassigned_nodes == 0
    # It can be encoded as it is.
    CommitEncoding(Keys("scaleout"), NOW, Retention(60, 100)).encode(changes)


NO_ACCOUNT_TROUBLE = Account()
