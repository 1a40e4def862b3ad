"""Pure: a pool whose operations fail again and again pauses by itself, then tries with one small operation.

What counts as a failure: a job that failed, for its nodes may be billed; and a refusal for good, for each
takes two calls of the quota. A shortage, a busy cluster, a used-up quota or a sending that never arrived says
nothing about the pool and changes nothing. A job that succeeded ends it. The gate lets one operation of a
cluster run at a time, so nothing of the pool is between plan and answer when its breaker opens. Times in ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from config.timestamps import timestamp
from tasks.contract.request import MAX_NODES_PER_OPERATION
from tasks.ledger.breakers import Breaker
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.records import Cluster, Operation, Request

FAILURES_IN_A_ROW = 5
FIRST_PAUSE_MS = 60_000
LONGEST_PAUSE_MS = 3_600_000
MOST_POOLS = 32


def failed(
    changes: Changes, cluster: Cluster, operation: Operation, requests: Sequence[Request], said: str, now: int
) -> Cluster:
    """The cluster after an operation of it has failed; `changes` tell of it if a breaker opens."""
    if not requests:
        return cluster
    pool = requests[0].pool
    before = cluster.breakers.get(pool) or Breaker(zone=operation.zone, node_role=operation.node_role)
    after = before.model_copy(update={"failures": before.failures + 1, "failed_at": now, "said": said})
    if after.failures >= FAILURES_IN_A_ROW or after.is_open:
        pause_ms = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** min(before.opened, 30))
        opened = {"opened": before.opened + 1, "since": before.since or now, "until": now + pause_ms}
        after = after.model_copy(update=opened)
        changes.broken[cluster.cluster_id] = after.since
        changes.tell(_event("breaker_opened", cluster, after, "error", operation.request_ids))
    return _with(cluster, {**cluster.breakers, pool: after})


def succeeded(
    changes: Changes, cluster: Cluster, operation: Operation, requests: Sequence[Request]
) -> Cluster:
    """The cluster after an operation of it has succeeded."""
    pool = requests[0].pool if requests else ""
    before = cluster.breakers.get(pool)
    if before is None:
        return cluster
    left = _with(cluster, {name: kept for name, kept in cluster.breakers.items() if name != pool})
    if before.is_open:
        if not is_open(left):
            changes.broken[cluster.cluster_id] = None
        changes.tell(_event("breaker_closed", cluster, before, "info", operation.request_ids, by="a success"))
    return left


def closed_by_hand(changes: Changes, cluster: Cluster, *, by: str) -> Cluster:
    """The cluster with all failures forgotten: a person says that it is mended."""
    changes.broken[cluster.cluster_id] = None
    for broken in cluster.breakers.values():
        if broken.is_open:
            changes.tell(_event("breaker_closed", cluster, broken, "info", (), by=by))
    return _with(cluster, {})


def probed(changes: Changes, cluster: Cluster, pool: str, request_ids: tuple[str, ...]) -> None:
    """`changes` plan an operation of the pool: if its breaker is open, that is a probe."""
    broken = cluster.breakers.get(pool)
    if broken is not None and broken.is_open:
        changes.tell(_event("breaker_probe", cluster, broken, "info", request_ids))


def probe_of(ready: Sequence[Request]) -> list[tuple[Request, int]]:
    """What one small operation takes: one node, of a request that may be split; else the smallest request."""
    request = min(ready, key=lambda one: (_fewest(one), one.accepted_at))
    return [(request, _fewest(request))]


def is_open(cluster: Cluster) -> bool:
    return any(broken.is_open for broken in cluster.breakers.values())


def text_of(broken: Breaker) -> str:
    """For people: why nothing of the pool is sent, and until when."""
    return (
        f"breaker: {broken.failures} operations in a row failed for {broken.node_role} nodes in zone "
        f"{broken.zone}; one small operation tries again {timestamp(broken.until)}; last: {broken.said}"
    )


def _fewest(request: Request) -> int:
    """A request that names its nodes, or would rather have none than some, is not split for a probe."""
    whole = request.form.goes_alone or request.form.on_shortage == "fail"
    most = min(MAX_NODES_PER_OPERATION, request.most_at_once or MAX_NODES_PER_OPERATION)
    return min(request.wanted, most) if whole else 1


def _with(cluster: Cluster, breakers: dict[str, Breaker]) -> Cluster:
    """Bounded: of too many pools the closed one goes that has not failed for the longest time."""
    if len(breakers) > MOST_POOLS:
        oldest = min(breakers, key=lambda pool: (breakers[pool].is_open, breakers[pool].failed_at))
        breakers = {pool: kept for pool, kept in breakers.items() if pool != oldest}
    return cluster.model_copy(update={"breakers": breakers})


def _event(
    name: str, cluster: Cluster, broken: Breaker, level: Any, requests: tuple[str, ...], **more: object
) -> Event:
    fields: dict[str, object] = {
        "cluster_id": cluster.cluster_id,
        "zone": broken.zone,
        "node_role": broken.node_role,
        "failures": broken.failures,
        "until": timestamp(broken.until),
        "message": broken.said,
        **more,
    }
    return Event(name, level, requests=requests, fields=fields, noted=True)
