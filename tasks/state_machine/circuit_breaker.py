"""PURE: a pool whose operations fail again and again waits, then tries one small operation. Times in ms.

A failure is a job that failed, for its nodes may be billed, or a permanent refusal, for each takes two calls
of the quota. A shortage, a busy cluster, an exhausted quota or a call that never left says nothing about the
pool. A job that succeeded closes the breaker. The cluster lock lets one operation run at a time, so nothing
of the pool is between plan and response when its breaker opens.
"""

from collections.abc import Sequence

from config.timestamps import timestamp
from tasks.contract.request import MAX_NODES_PER_OPERATION
from tasks.ledger.change_entries import Index, Listed
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event, Level
from tasks.ledger.record_values import Breaker
from tasks.ledger.records import Cluster, Operation, Request

MAX_FAILURES = 5
FIRST_WAIT_MS = 60_000
MAX_WAIT_MS = 3_600_000
MAX_POOLS = 32


def failed(
    changes: ChangeSet,
    cluster: Cluster,
    operation: Operation,
    requests: Sequence[Request],
    error: str,
    now: int,
) -> Cluster:
    """Return the cluster after an operation of it has failed; `changes` record it if a breaker opens."""
    if not requests:
        return cluster
    pool = requests[0].pool
    before = cluster.breakers.get(pool) or Breaker(zone=operation.zone, node_role=operation.node_role)
    update: dict[str, object] = {"failures": before.failures + 1, "failed_at": now, "last_error": error}
    after = before.model_copy(update=update)
    if after.failures >= MAX_FAILURES or after.is_open:
        wait_ms = min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** min(before.opened, 30))
        opened = {"opened": before.opened + 1, "since": before.since or now, "until": now + wait_ms}
        after = after.model_copy(update=opened)
        changes.add(Listed(Index.BROKEN, cluster.cluster_id, after.since))
        changes.record(_event("breaker_opened", cluster, after, "error", operation.request_ids))
    return _with(cluster, {**cluster.breakers, pool: after})


def succeeded(
    changes: ChangeSet, cluster: Cluster, operation: Operation, requests: Sequence[Request]
) -> Cluster:
    """Return the cluster after an operation of it has succeeded."""
    pool = requests[0].pool if requests else ""
    before = cluster.breakers.get(pool)
    if before is None:
        return cluster
    left = _with(cluster, {name: kept for name, kept in cluster.breakers.items() if name != pool})
    if before.is_open:
        if not is_open(left):
            changes.add(Listed(Index.BROKEN, cluster.cluster_id, None))
        closed = _event("breaker_closed", cluster, before, "info", operation.request_ids, by="a success")
        changes.record(closed)
    return left


def close_by_hand(changes: ChangeSet, cluster: Cluster, *, by: str) -> Cluster:
    """Return the cluster with all failures forgotten: an operator says that it is repaired."""
    changes.add(Listed(Index.BROKEN, cluster.cluster_id, None))
    for breaker in cluster.breakers.values():
        if breaker.is_open:
            changes.record(_event("breaker_closed", cluster, breaker, "info", (), by=by))
    return _with(cluster, {})


def record_probe(changes: ChangeSet, cluster: Cluster, pool: str, request_ids: tuple[str, ...]) -> None:
    """Record that the operation that `changes` plan is a probe, if the pool's breaker is open."""
    breaker = cluster.breakers.get(pool)
    if breaker is not None and breaker.is_open:
        changes.record(_event("breaker_probe", cluster, breaker, "info", request_ids))


def probe_of(ready: Sequence[Request]) -> list[tuple[Request, int]]:
    """Return one small operation: one node of a request that may be split, else the smallest request."""
    request = min(ready, key=lambda one: (_fewest(one), one.accepted_at))
    return [(request, _fewest(request))]


def is_open(cluster: Cluster) -> bool:
    return any(breaker.is_open for breaker in cluster.breakers.values())


def describe(breaker: Breaker) -> str:
    """Return for people why nothing of the pool is sent, and until when."""
    return (
        f"the circuit breaker is open: {breaker.failures} operations in a row failed for "
        f"{breaker.node_role} nodes in zone {breaker.zone}; one small operation is tried at "
        f"{timestamp(breaker.until)}; "
        f"last error: {breaker.last_error}"
    )


def _fewest(request: Request) -> int:
    """A request that names its nodes, or wants all or none, is not split for a probe."""
    whole = request.valid_spec.exclusive or request.valid_spec.on_shortage == "fail"
    maximum = min(MAX_NODES_PER_OPERATION, request.max_nodes_per_call or MAX_NODES_PER_OPERATION)
    return min(request.unassigned_nodes, maximum) if whole else 1


def _with(cluster: Cluster, breakers: dict[str, Breaker]) -> Cluster:
    """Bounded: of too many pools, the closed one that has not failed for the longest time is dropped."""
    if len(breakers) > MAX_POOLS:
        oldest = min(breakers, key=lambda pool: (breakers[pool].is_open, breakers[pool].failed_at))
        breakers = {pool: kept for pool, kept in breakers.items() if pool != oldest}
    return cluster.model_copy(update={"breakers": breakers})


def _event(
    name: str, cluster: Cluster, breaker: Breaker, level: Level, requests: tuple[str, ...], **more: object
) -> Event:
    fields: dict[str, object] = {
        "cluster_id": cluster.cluster_id,
        "zone": breaker.zone,
        "node_role": breaker.node_role,
        "failures": breaker.failures,
        "until": timestamp(breaker.until),
        "message": breaker.last_error,
        **more,
    }
    return Event(name, level, requests=requests, fields=fields, in_journal=True)
