"""The last span of a request's trace: its end, in whichever process that is written."""

from tasks.ledger.change_set import ChangeSet
from tasks.ledger.records import Request
from tasks.runtime import tracing


def trace_ends(changes: ChangeSet) -> None:
    """Record a span for each request that ends in this step."""
    ended = {one.request_id for one in changes.outcomes}
    for request in changes.writes:
        if not isinstance(request, Request) or request.request_id not in ended:
            continue
        at = request.finished_at or request.accepted_at
        tracing.record(
            "scaleout finish",
            at,
            at,
            parent=request.traceparent,
            request_id=request.request_id,
            status=str(request.status),
            nodes_added=request.nodes_added,
            duration_s=(at - request.accepted_at) / 1000,
        )
