"""How many nodes of a role a cluster has, and how many are on their way to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.ehpc.models import NodeRow
from tasks.handlers.context import Machinery
from tasks.handlers.provider_calls import MustWait, account_is_accepted, list_cluster_nodes
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Cluster, Operation, Refusal, Request
from tasks.quota.rate_limiter import CallClass
from tasks.state_machine.node_arrivals import CLOCK_MARGIN_MS

ACTIVE = "active"
SETTLING = "settling"


@dataclass(frozen=True, slots=True)
class Listing:
    """A cluster's nodes, and what the ledger knew of the cluster just before they were listed."""

    rows: Sequence[NodeRow]
    gate: str | None
    changed_at: int

    def fits(self, cluster: Cluster) -> bool:
        """Whether no operation has begun or ended on the cluster since."""
        return (cluster.gate, cluster.changed_at) == (self.gate, self.changed_at)


@dataclass(frozen=True, slots=True)
class Count:
    present: int
    on_its_way: int


async def list_nodes_of(m: Machinery, zone: str, cluster_id: str) -> Listing:
    """Raises EhpcError, or MustWait if the quota has no room or nodes have come too lately to be listed."""
    cluster = await m.ledger.cluster(cluster_id)
    shown_at = cluster.changed_at + round(m.settings.log_lag_s * 1000)
    if cluster.changed_at and m.clock.now_ms() < shown_at:
        message = f"an operation has just ended on cluster {cluster_id}: its nodes may not be listed yet"
        raise MustWait(shown_at, Refusal(kind=SETTLING, message=message))
    rows = await list_cluster_nodes(m, zone, cluster_id, CallClass.SUBMIT)
    await account_is_accepted(m, await m.ledger.account())
    return Listing(rows, cluster.gate, cluster.changed_at)


async def count_role(ledger: Ledger, cluster: Cluster, listing: Listing, role: str) -> Count:
    """`listing` has to fit `cluster`."""
    now = ledger.clock.now_ms()
    operation = None if cluster.gate is None else await ledger.operation(cluster.gate)
    wanted = 0
    async for request in ledger.overview.waiting(cluster.cluster_id):
        wanted += wanted_of(request, role, now)
    return Count(
        present_of(listing.rows, role, operation),
        wanted + (operation.node_count if operation is not None and _is_under_way(operation, role) else 0),
    )


def present_of(rows: Sequence[NodeRow], role: str, operation: Operation | None) -> int:
    """Active nodes of `role`, without those that `operation`, which is under way, has brought already.

    As clocks differ, only what was made some seconds after the sending is surely its own. Where that is not
    so a node counts twice, and fewer are asked for: the other mistake would buy too many.
    """
    active = [row for row in rows if row.role == role and row.status == ACTIVE]
    if operation is None or not _is_under_way(operation, role) or operation.sent_at is None:
        return len(active)
    since = operation.sent_at + CLOCK_MARGIN_MS
    brought = [
        row for row in active if row.create_time is not None and row.create_time.timestamp() * 1000 > since
    ]
    return len(active) - min(len(brought), operation.node_count)


def wanted_of(request: Request, role: str, now: int) -> int:
    """Nodes of `role` that the request still wants and may still get."""
    form = request.asked
    if form is None or form.node_role != role or request.ended or request.deadline_at <= now:
        return 0
    return request.wanted


def _is_under_way(operation: Operation, role: str) -> bool:
    return not operation.ended and operation.node_role == role
