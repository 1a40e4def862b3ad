"""Pure: which waiting requests the next operation of a cluster serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.contract.request import MAX_NODES_PER_OPERATION
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.due import Due, DueKind
from tasks.ledger.pauses import Pauses
from tasks.ledger.records import (
    READ_OF_A_POOL,
    Account,
    Allocation,
    Cluster,
    Operation,
    Refusal,
    Request,
    Share,
    State,
)
from tasks.state_machine import circuit_breaker
from tasks.state_machine.pauses import park
from tasks.state_machine.plan_limits import Guard
from tasks.state_machine.request_outcome import leave_demand, write_request

BEHIND_A_CROWD_MS = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be committed; `operation` is set if one was made and may be sent now, and `serves` these."""

    changes: Changes
    operation: Operation | None = None
    serves: tuple[Request, ...] = ()


@dataclass(slots=True)
class _Candidate:
    """The head of one pool's queue: what an operation would take, and when it may."""

    pool: str
    ready_at: int
    taken: list[tuple[Request, int]] = field(default_factory=list)


def plan_cluster(
    cluster: Cluster,
    account: Account,
    demand: Mapping[str, Sequence[Request]],
    *,
    now: int,
    coalesce_ms: int,
    lease_ms: int,
    probe_ms: int,
    operation_id: str,
    pauses: Pauses | None = None,
    guard: Guard | None = None,
) -> Plan:
    """Make the next operation of `cluster`, or find out when to look again. Times in ms.

    The operation stays leased to the caller for `lease_ms`. While the account is refused, one cluster in
    `probe_ms` may go on, to find out whether it still is.
    """
    changes = Changes(checks=[cluster, *(pauses.records if pauses else ())])
    due = Due(DueKind.CLUSTER, cluster.cluster_id)
    changes.due[due] = None
    _forget_empty_pools(changes, cluster, demand)
    if cluster.gate is not None:
        return Plan(changes)
    if pauses is not None and (pause := pauses.in_force(now)) is not None:
        return Plan(park(due, pauses, pause, cluster))
    elsewhere = _reject_other_zones(changes, cluster, demand, now)
    pools = {pool: requests for pool, requests in demand.items() if pool not in elsewhere}
    candidates = [
        found
        for pool, requests in pools.items()
        if (found := _candidate(cluster, pool, requests, now, coalesce_ms)) is not None
    ]
    # Of a crowd whose deadline has passed, all that were read may be about to end: others may be behind them.
    known = {candidate.pool for candidate in candidates}
    if any(len(crowd) >= READ_OF_A_POOL and pool not in known for pool, crowd in pools.items()):
        changes.sooner[due] = now + BEHIND_A_CROWD_MS
    if not candidates:
        return Plan(changes)
    allowed_at = max(cluster.not_before, account.not_before)
    first = min(candidates, key=lambda candidate: (max(candidate.ready_at, now), _arrival(candidate)))
    if max(first.ready_at, allowed_at) > now:
        changes.due[due] = max(first.ready_at, allowed_at)
        return Plan(changes)
    if guard is not None:
        first.taken = guard.keep(changes, first.taken, now)
        if not first.taken:
            changes.due[due] = now
            return Plan(changes)
    if account.refused_since is not None:
        changes.put(account.model_copy(update={"not_before": now + probe_ms}))
    operation = _operation(operation_id, cluster, first, now)
    if guard is not None:
        operation = guard.admit(changes, operation, first.taken)
    changes.checks.remove(cluster)
    changes.put(operation, cluster.model_copy(update={"gate": operation_id, "last_operation": operation_id}))
    changes.due[Due(DueKind.SUBMISSION, operation_id)] = now + lease_ms
    for request, nodes in first.taken:
        _allocate(changes, request, operation_id, nodes)
    if _takes_all(first, demand[first.pool]):
        changes.empty_pools.append((cluster.cluster_id, first.pool))
    circuit_breaker.probed(changes, cluster, first.pool, operation.request_ids)
    changes.tell(
        Event(
            "operation_planned",
            requests=operation.request_ids,
            fields={
                "operation_id": operation_id,
                "cluster_id": cluster.cluster_id,
                "zone": operation.zone,
                "node_count": operation.node_count,
            },
        )
    )
    return Plan(changes, operation, tuple(request for request, _ in first.taken))


def _arrival(candidate: _Candidate) -> tuple[int, str]:
    return candidate.taken[0][0].accepted_at, candidate.pool


def _candidate(
    cluster: Cluster, pool: str, requests: Sequence[Request], now: int, coalesce_ms: int
) -> _Candidate | None:
    waiting = [
        request
        for request in requests
        if request.wanted > 0 and not request.ended and request.deadline_at > now
    ]
    ready = [request for request in waiting if request.not_before <= now]
    if not ready:
        if not waiting:
            return None
        soonest = min(waiting, key=lambda request: request.not_before)
        return _Candidate(pool, soonest.not_before, [(soonest, 0)])
    if (broken := cluster.breakers.get(pool)) is not None and broken.is_open:
        return _Candidate(pool, max(now, broken.until), circuit_breaker.probe_of(ready))
    taken, full = _take(ready)
    candidate = _Candidate(pool, now, taken)
    if not full:
        candidate.ready_at = ready[0].accepted_at + coalesce_ms
    return candidate


def _take(ready: Sequence[Request]) -> tuple[list[tuple[Request, int]], bool]:
    """The requests that go together, in order of arrival, and whether no more could join them."""
    taken: list[tuple[Request, int]] = []
    room = MAX_NODES_PER_OPERATION
    for request in ready:
        goes_alone = request.alone or request.form.goes_alone or request.most_at_once is not None
        if goes_alone and taken:
            return taken, True
        if goes_alone:
            most = min(room, request.most_at_once or room)
            return [(request, min(request.wanted, most))], True
        if request.wanted > room and taken:
            return taken, True
        part = min(request.wanted, room)
        taken.append((request, part))
        room -= part
        if room == 0:
            return taken, True
    return taken, False


def _operation(operation_id: str, cluster: Cluster, candidate: _Candidate, now: int) -> Operation:
    form = candidate.taken[0][0].form
    return Operation(
        operation_id=operation_id,
        cluster_id=cluster.cluster_id,
        zone=form.zone,
        node_role=form.node_role,
        state=State.PLANNED,
        allocations=tuple(
            Allocation(request_id=request.request_id, node_count=nodes) for request, nodes in candidate.taken
        ),
        planned_at=now,
    )


def _allocate(changes: Changes, request: Request, operation_id: str, nodes: int) -> None:
    share = Share(operation_id=operation_id, node_count=nodes, state=State.PLANNED)
    left = request.wanted - nodes
    changes.put(request.model_copy(update={"wanted": left, "shares": (*request.shares, share)}))
    if left == 0:
        leave_demand(changes, request)


def _takes_all(candidate: _Candidate, waiting: Sequence[Request]) -> bool:
    """Whether nobody is left in the pool; behind as many as were read there may be more."""
    left = {request.request_id for request in waiting}
    left -= {request.request_id for request, nodes in candidate.taken if nodes == request.wanted}
    return not left and len(waiting) < READ_OF_A_POOL


def _forget_empty_pools(changes: Changes, cluster: Cluster, demand: Mapping[str, Sequence[Request]]) -> None:
    for pool, requests in demand.items():
        if not requests:
            changes.empty_pools.append((cluster.cluster_id, pool))


def _reject_other_zones(
    changes: Changes, cluster: Cluster, demand: Mapping[str, Sequence[Request]], now: int
) -> set[str]:
    """A cluster has one zone. Once a job has shown which, requests that name another cannot succeed."""
    if cluster.zone is None:
        return set()
    elsewhere = set()
    for pool, requests in demand.items():
        for request in requests:
            zone = request.form.zone
            if zone == cluster.zone:
                break
            elsewhere.add(pool)
            message = f"cluster {cluster.cluster_id} is in zone {cluster.zone}, not in {zone}"
            leave_demand(changes, request)
            refused = request.model_copy(
                update={"wanted": 0, "last_refusal": Refusal(kind="wrong_zone", message=message)}
            )
            write_request(changes, refused, now)
    if elsewhere:
        changes.due[Due(DueKind.CLUSTER, cluster.cluster_id)] = now
    return elsewhere
