"""Read what the status of requests depends on: each record once, however many requests depend on it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any, TypeVar

from tasks.ledger.ledger import Ledger
from tasks.ledger.migrations import UnreadableRecord
from tasks.ledger.pauses import Pauses
from tasks.ledger.record_values import State
from tasks.ledger.records import Account, Cluster, Operation, Request
from tasks.ledger.snapshots import WaitingSnapshot
from tasks.views.status import RequestStatus, StatusReason, Surroundings, state_of, status_document, status_of

T = TypeVar("T")
Snapshots = Mapping[str, asyncio.Future[WaitingSnapshot]]
NO_SNAPSHOTS: Snapshots = {}


async def read_status(ledger: Ledger, request: Request) -> RequestStatus:
    """Return the state of a request, and what it waits for."""
    return (await read_statuses(ledger, [request]))[0]


async def read_statuses(
    ledger: Ledger, requests: Sequence[Request], snapshots: Snapshots = NO_SNAPSHOTS
) -> list[RequestStatus]:
    """Return the state of each request. A record that cannot be read concerns its own requests alone.

    Args:
        snapshots: by cluster, what is being read already.
    """
    live = [part.operation_id for request in requests for part in request.live_assignments]
    operations = await ledger.operations(live, readable_only=True) if live else {}
    reader = _Reader(ledger, operations, await _next_tries(ledger, operations.values()), snapshots)
    if len(requests) == 1:
        # Without a task of its own: this is what each call of the gateway reads.
        return [await reader.status(requests[0])]
    return list(await asyncio.gather(*(reader.status(request) for request in requests)))


async def read_documents(
    ledger: Ledger, requests: Sequence[Request], snapshots: Snapshots = NO_SNAPSHOTS
) -> list[dict[str, Any]]:
    """Return the status document of each request, with the outcome of those that have ended.

    Args:
        snapshots: by cluster, what is being read already.
    """
    ended = [request.request_id for request in requests if request.ended]
    outcomes = dict(zip(ended, await ledger.outcomes(ended), strict=True))
    statuses = await read_statuses(ledger, requests, snapshots)
    return [
        status_document(request, status, outcomes.get(request.request_id))
        for request, status in zip(requests, statuses, strict=True)
    ]


async def _next_tries(ledger: Ledger, operations: Iterable[Operation]) -> dict[str, int]:
    """Return when operations that wait for something are tried again (ms), by id."""
    waiting = [
        operation
        for operation in operations
        if operation.state is State.IN_DOUBT
        or operation.reason is not None
        or operation.job_result is not None
    ]
    if not waiting:
        return {}
    async with ledger.redis.pipeline(transaction=False) as pipe:
        for operation in waiting:
            pipe.zscore(ledger.keys.due(operation.due.lane), str(operation.due))
        scores = await pipe.execute()
    return {
        operation.operation_id: int(score)
        for operation, score in zip(waiting, scores, strict=True)
        if score is not None
    }


class _Reader:
    """Reads for one look at the ledger.

    Args:
        operations: those that serve the requests, by id.
        next_try: when those of them that wait are tried again (ms).
        snapshots: by cluster, what is being read already.
    """

    def __init__(
        self,
        ledger: Ledger,
        operations: Mapping[str, Operation],
        next_try: Mapping[str, int],
        snapshots: Snapshots,
    ) -> None:
        self._ledger = ledger
        self._operations = operations
        self._next_try = next_try
        self._found: dict[str, asyncio.Future[Any]] = dict(snapshots)

    async def status(self, request: Request) -> RequestStatus:
        if request.spec is None or request.ended:
            return RequestStatus(request.status or "rejected")
        try:
            if any(part.state is not State.PLANNED for part in request.live_assignments):
                # Of what was sent, neither pauses nor the cluster decide any more.
                status = status_of(request, await self._of_sent(request), self._ledger.clock.now_ms())
                if status.state != "waiting":
                    return status
            return status_of(request, await self._of_waiting(request), self._ledger.clock.now_ms())
        except UnreadableRecord as error:
            await self._ledger.report_unreadable(error)
            message = f"{error.key} cannot be read by this version, so that what it waits for is unknown"
            return RequestStatus(state_of(request), StatusReason("ledger", message, remedy="scaleout doctor"))

    async def _of_sent(self, request: Request) -> Surroundings:
        zone, cluster_id = _place(request)
        return Surroundings(
            cluster=Cluster(cluster_id=cluster_id),
            account=Account(),
            pauses=Pauses.none(cluster_id),
            operations=self._operations,
            missing_since=(await self._once(f"zone {zone}", lambda: self._ledger.zone(zone))).missing,
            next_try=self._next_try,
        )

    async def _of_waiting(self, request: Request) -> Surroundings:
        ledger = self._ledger
        _, cluster_id = _place(request)
        found: WaitingSnapshot = await self._once(cluster_id, lambda: ledger.waiting_snapshot(cluster_id))
        locking = {} if found.locking is None else {found.locking.operation_id: found.locking}
        silent_ms = inf if found.last_tick is None else ledger.clock.now_ms() - found.last_tick
        return Surroundings(
            cluster=found.cluster,
            account=found.account,
            pauses=found.pauses,
            operations={**locking, **self._operations},
            next_try=self._next_try,
            suspended_until=found.suspended_until,
            silent_s=silent_ms / 1000,
        )

    async def _once(self, name: str, read: Callable[[], Awaitable[T]]) -> T:
        """Read it, unless it is being read or was read already."""
        if name not in self._found:
            self._found[name] = asyncio.ensure_future(read())
        found: T = await self._found[name]
        return found


def _place(request: Request) -> tuple[str, str]:
    """Return zone and cluster."""
    spec = request.valid_spec
    return spec.zone, spec.cluster_id
