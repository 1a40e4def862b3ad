"""PURE: when a request has ended, and the outcome that is written back. Times in ms."""

from tasks.contract.outcome import OutcomeStatus
from tasks.ledger.change_entries import Dequeue, Enqueue
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event, Level
from tasks.ledger.outcome_entries import Publish, PublishLateNodes
from tasks.ledger.outcomes import outcome_of
from tasks.ledger.record_values import Assignment, Reason, State
from tasks.ledger.records import Request

PERMANENT = frozenset({"invalid", "rejected", "wrong_zone", "conflict", "limit", "expired"})
DEADLINE = Reason(kind="deadline", message="the request's deadline passed before all of its nodes were there")
CANCELLED = Reason(kind="cancelled", message="the request was cancelled")


def write_request(changes: ChangeSet, request: Request, now: int) -> Request:
    """Write `request`, ended if nothing is left to wait for, and return it."""
    if not request.ended and request.unassigned_nodes == 0 and not request.live_assignments:
        return end_request(changes, request, _status(request), now)
    changes.write(request)
    if request.ended and not request.live_assignments:
        changes.expiring.append(request)
    return request


def end_request(changes: ChangeSet, request: Request, status: OutcomeStatus, now: int) -> Request:
    """End `request` as `status`, with outcome, subscribers and history. Its running jobs continue."""
    ended = request.model_copy(update={"status": status, "finished_at": now, "unassigned_nodes": 0})
    outcome = outcome_of(ended)
    changes.write(ended)
    changes.add(Publish(outcome, now))
    if request.unassigned_nodes > 0:
        leave_demand(changes, request)
    if not ended.live_assignments:
        changes.expiring.append(ended)
    fields = {
        "status": status,
        "cluster_id": outcome.cluster_id,
        "zone": outcome.zone,
        "requested_by": outcome.requested_by,
        "nodes_requested": outcome.nodes_requested,
        "nodes_added": outcome.nodes_added,
        "duration_s": outcome.duration_s,
        "error": ended.last_reason.model_dump() if outcome.error and ended.last_reason else None,
    }
    level: Level = "info" if status == "succeeded" else "warning"
    changes.record(Event("request_finished", level, (ended.request_id,), fields))
    return ended


def reject(changes: ChangeSet, request: Request, reason: Reason, now: int) -> Request:
    """Take from a request that waits what it still wants, for a permanent reason; it may end with that."""
    leave_demand(changes, request)
    return write_request(
        changes, request.model_copy(update={"unassigned_nodes": 0, "last_reason": reason}), now
    )


def expire_request(changes: ChangeSet, request: Request, now: int, *, during: str | None = None) -> None:
    """End a request at its deadline; its running jobs are polled all the same.

    `during`: the pause in which the deadline has passed.
    """
    reason = request.last_reason or DEADLINE
    if during is not None:
        reason = Reason(kind="deadline", message=f"{DEADLINE.message}; {during}")
    timed_out = request.model_copy(update={"last_reason": reason})
    end_request(changes, timed_out, "timed_out", now)


def cancel_request(
    changes: ChangeSet, request: Request, now: int, *, by: str, reason: str | None = None
) -> None:
    """Assign no further nodes. The request ends now if nothing was sent: the provider cannot cancel."""
    said: dict[str, object] = {"by": by} if reason is None else {"by": by, "reason": reason}
    changes.record(Event("request_cancelled", requests=(request.request_id,), fields=said))
    if request.unassigned_nodes:
        leave_demand(changes, request)
    update = {"cancelled": True, "unassigned_nodes": 0, "last_reason": request.last_reason or CANCELLED}
    cancelled = request.model_copy(update=update)
    if any(part.state is not State.PLANNED for part in cancelled.live_assignments):
        changes.write(cancelled)
        return
    end_request(changes, cancelled, "cancelled", now)


def report_late_nodes(changes: ChangeSet, request: Request, assignment: Assignment) -> None:
    """Publish nodes that came after the request had ended at its deadline."""
    at = assignment.finished_at or request.finished_at or 0
    changes.add(PublishLateNodes(outcome_of(request), at))
    names = ("operation_id", "job_id", "nodes_added")
    fields = {name: getattr(assignment, name) for name in names}
    changes.record(Event("late_nodes", "warning", (request.request_id,), fields))


def leave_demand(changes: ChangeSet, request: Request) -> None:
    changes.add(Dequeue(request.valid_spec.cluster_id, request.pool, request.request_id))


def enter_demand(changes: ChangeSet, request: Request, position: int | None = None) -> None:
    """Have the request wait, at the place of its first arrival unless `position` says otherwise."""
    at = request.accepted_at if position is None else position
    changes.add(Enqueue(request.valid_spec.cluster_id, request.pool, request.request_id, at))


def _status(request: Request) -> OutcomeStatus:
    added = request.nodes_added
    if added >= request.valid_spec.node_count:
        return "succeeded"
    if request.cancelled:
        return "cancelled"
    if added:
        return "partially_succeeded"
    reason = request.last_reason
    return "rejected" if reason is not None and reason.kind in PERMANENT else "failed"
