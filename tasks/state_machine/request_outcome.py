"""PURE: when a request has ended, and the outcome that is written back. Times in ms."""

from config.timestamps import timestamp
from tasks.contract.outcome import Outcome, OutcomeError, OutcomeOperation, OutcomeStatus
from tasks.ledger.change_entries import Dequeue, Enqueue
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event, Level
from tasks.ledger.outcome_entries import Publish, PublishLateNodes
from tasks.ledger.record_values import WITH_JOB, Assignment, Reason, State
from tasks.ledger.records import Request

PERMANENT = frozenset({"invalid", "rejected", "wrong_zone", "conflict", "limit"})
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


def expire_request(changes: ChangeSet, request: Request, now: int) -> None:
    """End a request at its deadline; its running jobs are polled all the same."""
    timed_out = request.model_copy(update={"last_reason": request.last_reason or DEADLINE})
    end_request(changes, timed_out, "timed_out", now)


def cancel_request(changes: ChangeSet, request: Request, now: int, *, by: str) -> None:
    """Assign no further nodes. The request ends now if nothing was sent: the provider cannot cancel."""
    changes.record(Event("request_cancelled", requests=(request.request_id,), fields={"by": by}))
    if request.unassigned_nodes:
        leave_demand(changes, request)
    reason = request.last_reason or CANCELLED
    update = {"cancelled": True, "unassigned_nodes": 0, "last_reason": reason}
    cancelled = request.model_copy(update=update)
    if any(part.state is not State.PLANNED for part in cancelled.live_assignments):
        changes.write(cancelled)
        return
    end_request(changes, cancelled, "cancelled", now)


def report_late_nodes(changes: ChangeSet, request: Request, assignment: Assignment) -> None:
    """Publish nodes that came after the request had ended at its deadline."""
    changes.add(PublishLateNodes(outcome_of(request)))
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


def outcome_of(request: Request) -> Outcome:
    """Return the outcome of an ended request. Raises ValueError for one that has not ended."""
    if request.status is None or request.finished_at is None:
        raise ValueError(f"request {request.request_id} has not ended and has no outcome")
    spec = request.spec
    reason = None if request.status == "succeeded" else request.last_reason
    return Outcome(
        request_id=request.request_id,
        cluster_id=spec.cluster_id if spec else None,
        zone=spec.zone if spec else None,
        node_role=spec.node_role if spec else None,
        status=request.status,
        nodes_requested=spec.node_count if spec else None,
        nodes_added=request.nodes_added,
        node_ids=[node_id for part in request.assignments for node_id in part.node_ids],
        operations=[_operation(part) for part in request.assignments if part.job_id is not None],
        refusals=request.refusals,
        error=reason and OutcomeError(code=reason.code, kind=reason.kind, message=reason.message),
        requested_by=spec.requested_by if spec else None,
        accepted_at=timestamp(request.accepted_at),
        finished_at=timestamp(request.finished_at),
        duration_s=max(0, request.finished_at - request.accepted_at) / 1000,
    )


def _operation(assignment: Assignment) -> OutcomeOperation:
    status = assignment.state if assignment.state in WITH_JOB else State.HELD
    submitted_at, finished_at = assignment.submitted_at, assignment.finished_at
    return OutcomeOperation.model_validate(
        {
            "operation_id": assignment.operation_id,
            "job_id": assignment.job_id,
            "node_count": assignment.node_count,
            "status": status.value,
            "error_codes": assignment.error_codes,
            "submitted_at": None if submitted_at is None else timestamp(submitted_at),
            "finished_at": None if finished_at is None else timestamp(finished_at),
        }
    )
