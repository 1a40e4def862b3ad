"""PURE: which waiting requests the next operation of a cluster serves. Times in ms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.contract.request import MAX_NODES_PER_OPERATION
from tasks.ledger.change_entries import ForgetPool
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.record_values import Allocation, Assignment, Reason
from tasks.ledger.records import MAX_READ_OF_A_POOL, Cluster, Operation, Request
from tasks.ledger.snapshots import ClusterSnapshot
from tasks.state_machine import circuit_breaker
from tasks.state_machine.cluster_lock import lock_cluster
from tasks.state_machine.pauses import park
from tasks.state_machine.plan_limits import PlanLimits
from tasks.state_machine.request_outcome import leave_demand, reject

BEHIND_EXPIRED_MS = 1_000
PARTLY_READ_MS = 60_000

Demand = Mapping[str, Sequence[Request]]


@dataclass(frozen=True, slots=True)
class PlanRules:
    """How operations are planned. Times in ms.

    Fields:
        coalesce_ms: how long small requests of a pool wait for each other.
        lease_ms: how long the planned operation is leased to the caller, who sends it.
        probe_ms: while the account is blocked, one cluster in this time may find out whether it still is.
    """

    coalesce_ms: int
    lease_ms: int
    probe_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The step to commit; with an operation and the requests it serves if one may be sent now."""

    changes: ChangeSet
    operation: Operation | None = None
    serves: tuple[Request, ...] = ()


@dataclass(slots=True)
class _Candidate:
    """The head of one pool's queue: what an operation would serve, and from when on."""

    pool: str
    ready_at: int
    parts: list[tuple[Request, int]] = field(default_factory=list)

    @property
    def arrival(self) -> tuple[int, str]:
        return self.parts[0][0].accepted_at, self.pool


def plan_cluster(
    snapshot: ClusterSnapshot,
    rules: PlanRules,
    *,
    now: int,
    operation_id: str,
    limits: PlanLimits | None = None,
) -> Plan:
    """Plan the next operation of a cluster, or find out when to plan again.

    Args:
        operation_id: the id of the operation, if one is planned.
        limits: the policy's; None plans without.
    """
    cluster, account, pauses, demand = snapshot.cluster, snapshot.account, snapshot.pauses, snapshot.waiting
    changes = ChangeSet(expected=[cluster, snapshot.arrivals, *pauses.records])
    changes.schedule(cluster.due, None)
    empty = {pool for pool, requests in demand.items() if not requests} - snapshot.partly_read
    changes.add(*(ForgetPool(cluster.cluster_id, pool) for pool in sorted(empty)))
    if cluster.locked_by is not None:
        return Plan(changes)
    if (pause := pauses.in_force(now)) is not None:
        return Plan(park(cluster.due, pauses, pause, now, cluster))
    elsewhere = _reject_other_zones(changes, cluster, demand, now)
    pools = {pool: requests for pool, requests in demand.items() if pool not in elsewhere}
    found = (_candidate(cluster, pool, requests, now, rules) for pool, requests in pools.items())
    candidates = [candidate for candidate in found if candidate is not None]
    again = [now] if elsewhere else []
    if snapshot.partly_read:
        again.append(now + PARTLY_READ_MS)
    # If all requests that were read of a pool have expired, they are about to end, and more may be behind.
    known = {candidate.pool for candidate in candidates}
    if any(len(read) >= MAX_READ_OF_A_POOL and pool not in known for pool, read in pools.items()):
        again.append(now + BEHIND_EXPIRED_MS)
    if candidates:
        first = min(candidates, key=lambda candidate: (max(candidate.ready_at, now), candidate.arrival))
        ready_at = max(first.ready_at, cluster.not_before, account.not_before)
        if ready_at <= now and limits is not None:
            first.parts = limits.filter(changes, first.parts, now)
        if ready_at <= now and first.parts:
            plan = _plan_operation(changes, snapshot, first, rules, now, operation_id, limits)
            _schedule(changes, cluster, again)
            return plan
        again.append(max(ready_at, now))
    if snapshot.has_more:
        again.append(max(now + BEHIND_EXPIRED_MS, snapshot.waits_until()))
    _schedule(changes, cluster, again)
    return Plan(changes)


def _schedule(changes: ChangeSet, cluster: Cluster, again: Sequence[int]) -> None:
    changes.schedule(cluster.due, min(again) if again else None)


def _plan_operation(
    changes: ChangeSet,
    snapshot: ClusterSnapshot,
    first: _Candidate,
    rules: PlanRules,
    now: int,
    operation_id: str,
    limits: PlanLimits | None,
) -> Plan:
    cluster, account = snapshot.cluster, snapshot.account
    if account.blocked_since is not None:
        changes.write(account.model_copy(update={"not_before": now + rules.probe_ms}))
    operation = _operation(operation_id, cluster, first, now)
    if limits is not None:
        operation = limits.reserve(changes, operation, first.parts)
    changes.expected.remove(cluster)
    # What arrives meanwhile waits for the end of this operation, which has the cluster planned again.
    changes.expected.remove(snapshot.arrivals)
    changes.write(operation, lock_cluster(cluster, operation))
    changes.schedule(operation.due, now + rules.lease_ms)
    for request, nodes in first.parts:
        _assign(changes, request, operation, nodes)
    if first.pool not in snapshot.partly_read and _takes_all(first, snapshot.waiting[first.pool]):
        changes.add(ForgetPool(cluster.cluster_id, first.pool))
    circuit_breaker.record_probe(changes, cluster, first.pool, operation.request_ids)
    changes.record(operation.event("operation_planned"))
    return Plan(changes, operation, tuple(request for request, _ in first.parts))


def _candidate(
    cluster: Cluster, pool: str, requests: Sequence[Request], now: int, rules: PlanRules
) -> _Candidate | None:
    waiting = [
        request
        for request in requests
        if request.unassigned_nodes > 0 and not request.ended and request.deadline_at > now
    ]
    ready = [request for request in waiting if request.not_before <= now]
    if not ready:
        if not waiting:
            return None
        soonest = min(waiting, key=lambda request: request.not_before)
        return _Candidate(pool, soonest.not_before, [(soonest, 0)])
    if (breaker := cluster.breakers.get(pool)) is not None and breaker.is_open:
        return _Candidate(pool, max(now, breaker.until), circuit_breaker.probe_of(ready))
    parts, full = _share_call(ready)
    return _Candidate(pool, now if full else ready[0].accepted_at + rules.coalesce_ms, parts)


def _share_call(ready: Sequence[Request]) -> tuple[list[tuple[Request, int]], bool]:
    """Return the requests that share a call, in order of arrival, and whether no more could join them."""
    parts: list[tuple[Request, int]] = []
    room = MAX_NODES_PER_OPERATION
    for request in ready:
        limited = request.max_nodes_per_call is not None
        if request.exclusive or request.valid_spec.exclusive or limited:
            if parts:
                return parts, True
            maximum = min(room, request.max_nodes_per_call or room)
            return [(request, min(request.unassigned_nodes, maximum))], True
        if request.unassigned_nodes > room and parts:
            return parts, True
        nodes = min(request.unassigned_nodes, room)
        parts.append((request, nodes))
        room -= nodes
        if room == 0:
            return parts, True
    return parts, False


def _operation(operation_id: str, cluster: Cluster, candidate: _Candidate, now: int) -> Operation:
    spec = candidate.parts[0][0].valid_spec
    return Operation(
        operation_id=operation_id,
        cluster_id=cluster.cluster_id,
        zone=spec.zone,
        node_role=spec.node_role,
        allocations=tuple(
            Allocation(request_id=request.request_id, node_count=nodes) for request, nodes in candidate.parts
        ),
        planned_at=now,
    )


def _assign(changes: ChangeSet, request: Request, operation: Operation, nodes: int) -> None:
    part = Assignment(operation_id=operation.operation_id, node_count=nodes, state=operation.state)
    left = request.unassigned_nodes - nodes
    update = {"unassigned_nodes": left, "assignments": (*request.assignments, part)}
    changes.write(request.model_copy(update=update))
    if left == 0:
        leave_demand(changes, request)


def _takes_all(candidate: _Candidate, waiting: Sequence[Request]) -> bool:
    """Return whether no request is left in the pool; there may be more than were read."""
    left = {request.request_id for request in waiting}
    left -= {request.request_id for request, nodes in candidate.parts if nodes == request.unassigned_nodes}
    return not left and len(waiting) < MAX_READ_OF_A_POOL


def _reject_other_zones(changes: ChangeSet, cluster: Cluster, demand: Demand, now: int) -> set[str]:
    """A cluster has one zone. Once a job has shown it, requests that name another cannot succeed."""
    if cluster.zone is None:
        return set()
    elsewhere = set()
    for pool, requests in demand.items():
        for request in requests:
            zone = request.valid_spec.zone
            if zone == cluster.zone:
                break
            elsewhere.add(pool)
            message = f"cluster {cluster.cluster_id} is in zone {cluster.zone}, not in {zone}"
            reject(changes, request, Reason(kind="wrong_zone", message=message), now)
    return elsewhere
