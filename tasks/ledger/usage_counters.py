"""Pure: what counts of an operation or a request, from when, and for how long."""

from collections.abc import Iterator
from dataclasses import replace

from tasks.ledger.record_values import WITH_JOB, State, distribute
from tasks.ledger.records import Operation, Request
from tasks.ledger.usage_entries import UsageEntry

NOT_EXECUTED = frozenset({State.REFUSED, State.NOT_EXECUTED, State.ABANDONED})


def of_operation(operation: Operation, now: int, *, enters: bool) -> Iterator[UsageEntry]:
    """Yield what counts of an operation in its state; applied a second time it changes nothing.

    A job is known only after it was made, so what counts from `now` (ms) on leaves the window later than by
    the provider's own clock, never earlier.
    """
    parts = _parts(operation)
    known = operation.state in WITH_JOB or operation.job_id is not None
    for counter in operation.counters:
        nodes = sum(
            part
            for allocation, part in zip(operation.allocations, parts, strict=True)
            if counter.producer is None or allocation.requested_by == counter.producer
        )
        at = now if known else None
        yield UsageEntry(counter.scope, counter.window_s, operation.operation_id, nodes, at, enters)


def of_late_job(operation: Operation, job_id: str, now: int) -> list[UsageEntry]:
    """Return what counts of a job that turns up when its operation has ended without it."""
    as_sent = operation.model_copy(update={"state": State.RUNNING})
    entries = of_operation(as_sent, now, enters=True)
    return [replace(entry, name=f"{entry.name} {job_id}") for entry in entries]


def of_request(request: Request) -> Iterator[UsageEntry]:
    """Yield what of a request is not settled: unassigned, or in an operation that has not ended."""
    if (counter := request.counter) is not None:
        nodes = request.unassigned_nodes + sum(part.node_count for part in request.live_assignments)
        enters = request.version == 0
        yield UsageEntry(counter.scope, counter.window_s, request.request_id, nodes, None, enters)


def _parts(operation: Operation) -> list[int]:
    if operation.state in NOT_EXECUTED:
        return [0] * len(operation.allocations)
    if operation.ended:
        return distribute(operation.allocations, operation.nodes_added)
    return [allocation.node_count for allocation in operation.allocations]
