"""PURE: an operation whose record is gone, from what the requests that it served still say. Times in ms."""

from collections.abc import Sequence

from tasks.ledger.change_set import ChangeSet
from tasks.ledger.notices import Notify, notice_of
from tasks.ledger.record_values import Allocation, State
from tasks.ledger.records import Operation, Request

REASON = (
    "its record was lost, and this is what its requests say of it: compare it with the operation log, "
    "then resolve it"
)


def held_without_record(
    operation_id: str, served: Sequence[Request], now: int
) -> tuple[Operation, ChangeSet]:
    """Return the operation, held, and the step that writes it.

    Args:
        served: the requests that have an assignment in it, at least one.
    """
    first = served[0].valid_spec
    parts = [(request, request.assignment_in(operation_id)) for request in served]
    operation = Operation(
        operation_id=operation_id,
        cluster_id=first.cluster_id,
        zone=first.zone,
        node_role=first.node_role,
        state=State.HELD,
        allocations=tuple(
            Allocation(request_id=request.request_id, node_count=part.node_count) for request, part in parts
        ),
        # At the earliest: what was sent for it, and when, may be lost with it.
        planned_at=min(request.accepted_at for request in served),
        sent_at=next((part.submitted_at for _, part in parts if part.submitted_at is not None), None),
        job_id=next((part.job_id for _, part in parts if part.job_id is not None), None),
        held_reason=REASON,
    )
    changes = ChangeSet()
    changes.write(operation, *(request.with_assignment(operation) for request in served))
    changes.add(Notify(notice_of("held", operation_id, now)))
    changes.record(operation.event("operation_held", "error", reason=REASON))
    return operation, changes
