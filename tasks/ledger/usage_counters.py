"""Running sums of nodes, for limits: what counts of an operation or a request, from when, how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tasks.ledger.records import WITH_JOB, Operation, Request, State, give

NOT_CARRIED_OUT = frozenset({State.REFUSED, State.ABSENT, State.ABANDONED})


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter shows. `leaving`: the first nodes to leave its window, and when (ms)."""

    used: int
    leaving: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Within:
    """The step is applied only if `nodes` more on the meter make no more than `most`."""

    scope: str
    window_s: int
    nodes: int
    most: int


@dataclass(frozen=True, slots=True)
class Entry:
    """`nodes` of `name` count on a meter, from `at` (ms) on for its window.

    `at` is None as long as it is not known when they were, or will be, bought: then they count until it is.
    An entry that is not there is made only if it `enters`; no nodes take it away.
    """

    scope: str
    window_s: int
    name: str
    nodes: int
    at: int | None
    enters: bool


def of_operation(operation: Operation, now: int, *, enters: bool) -> Iterator[Entry]:
    """What counts of an operation in its present state; a second time changes nothing.

    A job is known only after it was made, so what counts from `now` on has left the window later than the
    provider's own clock would have it, never earlier.
    """
    parts = _parts(operation)
    known = operation.state in WITH_JOB or operation.job_id is not None
    for meter in operation.meters:
        nodes = sum(
            part
            for allocation, part in zip(operation.allocations, parts, strict=True)
            if meter.producer is None or allocation.requested_by == meter.producer
        )
        at = now if known else None
        yield Entry(meter.scope, meter.window_s, operation.operation_id, nodes, at, enters)


def bought_after_all(operation: Operation, job_id: str, now: int) -> list[Entry]:
    """What counts of a job that turns up when its operation has ended without it."""
    as_sent = operation.model_copy(update={"state": State.RUNNING})
    entries = of_operation(as_sent, now, enters=True)
    return [replace(entry, name=f"{entry.name} {job_id}") for entry in entries]


def of_request(request: Request) -> Iterator[Entry]:
    """What of a request is not settled: still wanted, or in an operation that has not ended."""
    if request.meter is not None:
        nodes = request.wanted + sum(share.node_count for share in request.live_shares)
        meter = request.meter
        enters = request.version == 0
        yield Entry(meter.scope, meter.window_s, request.request_id, nodes, None, enters)


def _parts(operation: Operation) -> list[int]:
    if operation.state in NOT_CARRIED_OUT:
        return [0] * len(operation.allocations)
    if operation.ended:
        return give(operation.allocations, operation.nodes_added)
    return [allocation.node_count for allocation in operation.allocations]
