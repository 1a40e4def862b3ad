"""Pure: when a request has ended, and what is written back."""

from __future__ import annotations

from config.timestamps import timestamp
from tasks.contract.outcome import Outcome, OutcomeError, OutcomeOperation, OutcomeStatus
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.due import Due, DueKind
from tasks.ledger.records import WITH_JOB, Refusal, Request, Share, State

FOR_GOOD = frozenset({"invalid", "rejected", "wrong_zone", "conflict", "guardrail"})
DEADLINE = Refusal(
    kind="deadline", message="the request's deadline passed before all of its nodes were there"
)
CANCELLED = Refusal(kind="cancelled", message="the request was cancelled")


def write_request(changes: Changes, request: Request, now: int) -> Request:
    """Put `request` into `changes`, ended if there is nothing left to wait for, and give it back."""
    if not request.ended and request.wanted == 0 and not request.live_shares:
        return end_request(changes, request, _status(request), now)
    changes.put(request)
    if request.ended and not request.live_shares:
        changes.expire.append(request)
    return request


def end_request(changes: Changes, request: Request, status: OutcomeStatus, now: int) -> Request:
    """End `request` as `status`: outcome, waiting producers, history. Its running jobs go on."""
    waiting = request.wanted > 0
    ended = request.model_copy(update={"status": status, "finished_at": now, "wanted": 0})
    outcome = outcome_of(ended)
    changes.put(ended)
    changes.outcomes.append(outcome)
    changes.ended_at[ended.request_id] = now
    if waiting:
        leave_demand(changes, request)
    if not ended.live_shares:
        changes.expire.append(ended)
    changes.tell(
        Event(
            "request_finished",
            "info" if status == "succeeded" else "warning",
            requests=(ended.request_id,),
            fields={
                "status": status,
                "nodes_requested": outcome.nodes_requested,
                "nodes_added": outcome.nodes_added,
                "duration_s": outcome.duration_s,
                "error": ended.last_refusal.model_dump() if outcome.error and ended.last_refusal else None,
            },
        )
    )
    return ended


def expire_request(changes: Changes, request: Request, now: int) -> None:
    """At the deadline: the request takes no further nodes and ends; what runs is followed all the same."""
    timed_out = request.model_copy(update={"last_refusal": request.last_refusal or DEADLINE})
    end_request(changes, timed_out, "timed_out", now)


def cancel_request(changes: Changes, request: Request, now: int, *, by: str) -> None:
    """Take no further nodes. Ends at once if nothing has been sent; the provider has no way to cancel."""
    changes.tell(Event("request_cancelled", requests=(request.request_id,), fields={"by": by}))
    if request.wanted:
        leave_demand(changes, request)
    refusal = request.last_refusal or CANCELLED
    cancelled = request.model_copy(update={"cancelled": True, "wanted": 0, "last_refusal": refusal})
    if any(share.state is not State.PLANNED for share in cancelled.live_shares):
        changes.put(cancelled)
        return
    end_request(changes, cancelled, "cancelled", now)


def report_late_nodes(changes: Changes, request: Request, share: Share) -> None:
    """Nodes came for a request that had ended at its deadline: nobody else would hear of them."""
    changes.late.append(outcome_of(request))
    changes.tell(
        Event(
            "late_nodes",
            "warning",
            requests=(request.request_id,),
            fields={
                "operation_id": share.operation_id,
                "job_id": share.job_id,
                "nodes_added": share.nodes_added,
            },
        )
    )


def leave_demand(changes: Changes, request: Request) -> None:
    form = request.form
    changes.demand.append((form.cluster_id, request.pool, request.request_id, None))


def enter_demand(changes: Changes, request: Request) -> None:
    """Wait again, at the place of the first arrival."""
    form = request.form
    changes.demand.append((form.cluster_id, request.pool, request.request_id, request.accepted_at))


def _status(request: Request) -> OutcomeStatus:
    added = request.nodes_added
    if added >= request.form.node_count:
        return "succeeded"
    if request.cancelled:
        return "cancelled"
    if added:
        return "partially_succeeded"
    refusal = request.last_refusal
    return "rejected" if refusal is not None and refusal.kind in FOR_GOOD else "failed"


def outcome_of(request: Request) -> Outcome:
    """The outcome of an ended request, as it stands."""
    if request.status is None or request.finished_at is None:
        raise ValueError(f"request {request.request_id} has not ended and has no outcome")
    form = request.asked
    refusal = None if request.status == "succeeded" else request.last_refusal
    return Outcome(
        request_id=request.request_id,
        cluster_id=form.cluster_id if form else None,
        zone=form.zone if form else None,
        node_role=form.node_role if form else None,
        status=request.status,
        nodes_requested=form.node_count if form else None,
        nodes_added=request.nodes_added,
        node_ids=[node_id for share in request.shares for node_id in share.node_ids],
        operations=[_operation(share) for share in request.shares if share.job_id is not None],
        refusals=request.refusals,
        error=refusal and OutcomeError(code=refusal.code, kind=refusal.kind, message=refusal.message),
        requested_by=form.requested_by if form else None,
        accepted_at=timestamp(request.accepted_at),
        finished_at=timestamp(request.finished_at),
        duration_s=max(0, request.finished_at - request.accepted_at) / 1000,
    )


def _operation(share: Share) -> OutcomeOperation:
    status = share.state if share.state in WITH_JOB else State.HELD
    return OutcomeOperation.model_validate(
        {
            "operation_id": share.operation_id,
            "job_id": share.job_id,
            "node_count": share.node_count,
            "status": status.value,
            "error_codes": share.error_codes,
            "submitted_at": None if share.submitted_at is None else timestamp(share.submitted_at),
            "finished_at": None if share.finished_at is None else timestamp(share.finished_at),
        }
    )


def deadline_of(request: Request) -> Due:
    return Due(DueKind.REQUEST, request.request_id)
