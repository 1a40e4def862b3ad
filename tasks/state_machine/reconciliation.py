"""PURE: it is unknown what became of an operation. Times in ms."""

from collections.abc import Sequence

from tasks.ledger.change_entries import Index, Listed, PollJob
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.notices import Notify, notice_of
from tasks.ledger.record_values import Candidate, Doubt, State
from tasks.ledger.records import Cluster, Operation, Request
from tasks.state_machine.states import move

DAY_MS = 86_400_000


def doubt(operation: Operation, requests: Sequence[Request], cluster: Cluster, what: Doubt) -> ChangeSet:
    """Record that the operation was sent, or may have been, and that its fate is unknown."""
    in_doubt = move(operation, State.IN_DOUBT, doubt=what)
    changes = ChangeSet()
    changes.write(in_doubt)
    earlier = cluster.doubt_since
    if earlier is None or what.since - earlier > DAY_MS:
        # Its job may appear late: the baselines that follow reach back to here.
        changes.write(cluster.model_copy(update={"doubt_since": operation.sent_at}))
    changes.schedule(operation.due, what.since)
    changes.write(*(request.with_assignment(in_doubt) for request in requests))
    fields = what.model_dump(exclude={"since"})
    changes.record(in_doubt.event("operation_in_doubt", "warning", **fields, sent_at=operation.sent_at))
    return changes


def stay_in_doubt(
    operation: Operation, *, at: int, candidates: Sequence[Candidate], absent_since: int | None
) -> ChangeSet:
    """Decide nothing yet: reconcile again at `at`, and keep what was seen."""
    seen = {"candidates": tuple(candidates), "absent_since": absent_since, "attempts": 0, "reason": None}
    changes = ChangeSet()
    changes.write(operation.model_copy(update=seen))
    changes.schedule(operation.due, at)
    return changes


def hold(operation: Operation, requests: Sequence[Request], *, reason: str, now: int) -> ChangeSet:
    """Leave the decision to an operator. The cluster stays locked."""
    held = move(operation, State.HELD, held_reason=reason, job_result=None)
    changes = ChangeSet()
    changes.write(held)
    changes.schedule(operation.due, None)
    changes.add(Listed(Index.HELD, operation.operation_id, now))
    changes.add(Notify(notice_of("held", operation.operation_id, now)))
    stop_polling(changes, operation)
    changes.write(*(request.with_assignment(held) for request in requests))
    changes.record(held.event("operation_held", "error", reason=reason))
    return changes


def stop_polling(changes: ChangeSet, operation: Operation) -> None:
    """Poll the operation's job no longer, if it has one."""
    if operation.job_id is not None:
        changes.add(PollJob(operation.zone, operation.job_id, operation.operation_id, None))
