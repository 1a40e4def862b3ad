"""PURE: the outcome of an ended request, from its record. Times in ms."""

from config.timestamps import timestamp
from tasks.contract.outcome import Outcome, OutcomeError, OutcomeOperation
from tasks.ledger.record_values import WITH_JOB, Assignment, State
from tasks.ledger.records import Request


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
