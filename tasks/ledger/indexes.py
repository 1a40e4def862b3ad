"""PURE: which entries of the indexes a record must have, so that lost ones can be restored. Times in ms."""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.ledger.change_entries import Enqueue, Entry, Index, Listed, PollJob
from tasks.ledger.change_set import ChangeSet, DueRule
from tasks.ledger.due import Due, DueKind
from tasks.ledger.keys import Key, Keys
from tasks.ledger.pauses import EVERYTHING
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation, Request


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A member of a set.

    Fields:
        places: the sets, which are sorted unless `unsorted`; it has to be in one of them.
        restore: what writes it: an entry of a change set, or a due entry, which is due at once.
    """

    places: tuple[Key, ...]
    member: str
    restore: Entry | Due
    unsorted: bool = False

    def stage(self, changes: ChangeSet, now: int) -> None:
        """Have `changes` write it."""
        if isinstance(self.restore, Due):
            changes.schedule(self.restore, now, DueRule.IF_ABSENT)
        else:
            changes.add(self.restore)


def of_request(request: Request, keys: Keys, now: int) -> Iterator[IndexEntry]:
    """Yield the entries of a request that has not ended. Past its deadline it is not planned any more."""
    spec, name = request.spec, request.request_id
    if request.ended or spec is None:
        return
    open_requests = keys.index(Index.OPEN.value)
    yield IndexEntry((open_requests,), name, Listed(Index.OPEN, name, request.accepted_at))
    yield of_due(Due(DueKind.REQUEST, name), keys)
    if request.unassigned_nodes > 0:
        waits = Enqueue(spec.cluster_id, request.pool, name, request.accepted_at)
        yield IndexEntry((keys.demand(spec.cluster_id, request.pool),), name, waits)
        yield IndexEntry((keys.pools(spec.cluster_id),), request.pool, waits, unsorted=True)
        if not request.live_assignments and request.deadline_at > now:
            yield of_due(Due(DueKind.CLUSTER, spec.cluster_id), keys, spec.cluster_id)


def of_operation(operation: Operation, keys: Keys, since: int) -> Iterator[IndexEntry]:
    """Yield the entries of an operation that has not ended. `since`: for one that is held."""
    name = operation.operation_id
    match operation.state:
        case State.PLANNED | State.SUBMITTING | State.IN_DOUBT:
            yield of_due(operation.due, keys, operation.cluster_id)
        case State.RUNNING if operation.job_result is not None:
            yield of_due(operation.due, keys)
        case State.RUNNING if operation.job_id is not None:
            sent_at = operation.sent_at or operation.planned_at
            polled = PollJob(operation.zone, operation.job_id, name, sent_at)
            yield IndexEntry((keys.running(operation.zone),), f"{operation.job_id} {name}", polled)
            yield of_due(Due(DueKind.ZONE, operation.zone), keys)
        case State.HELD:
            yield IndexEntry((keys.index(Index.HELD.value),), name, Listed(Index.HELD, name, since))


def of_due(due: Due, keys: Keys, cluster_id: str | None = None) -> IndexEntry:
    """Return a due entry; while its cluster is paused it is parked."""
    parked = () if cluster_id is None else (keys.parked(EVERYTHING), keys.parked(cluster_id))
    return IndexEntry((keys.due(due.lane), *parked), str(due), due)
