"""How many nodes of a role a cluster has, and how many are on their way to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.ehpc.models import NodeRow
from tasks.handlers.context import Context
from tasks.handlers.provider_calls import Deferred, list_cluster_nodes, restore_account
from tasks.ledger.ledger import Ledger
from tasks.ledger.record_values import Reason
from tasks.ledger.records import Cluster, Operation, Request
from tasks.quota.priorities import CallPriority
from tasks.schedules.own_nodes import missing_nodes
from tasks.state_machine.node_arrivals import CLOCK_MARGIN_MS, GONE

SETTLING = "settling"
UNCLEAR = "nodes_unclear"
UNCLEAR_RETRY_MS = 60_000
# Roles that the vendor's pages and consoles know; nodes of the last ones are never added by us.
ROLES = frozenset({"compute", "login"})
OTHER_ROLES = frozenset(
    {"admin", "control", "controller", "gateway", "head", "management", "manager", "master", "monitor"}
    | {"nas", "nfs", "proxy", "scheduler", "service", "storage", "visualization"}
)


@dataclass(frozen=True, slots=True)
class NodeListing:
    """A cluster's nodes, and what the ledger knew of the cluster just before they were listed."""

    rows: Sequence[NodeRow]
    locked_by: str | None
    changed_at: int

    def fits(self, cluster: Cluster) -> bool:
        """Return whether no operation has begun or ended on the cluster since."""
        return (cluster.locked_by, cluster.changed_at) == (self.locked_by, self.changed_at)


@dataclass(frozen=True, slots=True)
class Count:
    """Nodes of one role."""

    present: int
    on_its_way: int


async def list_nodes_of(ctx: Context, zone: str, cluster_id: str) -> NodeListing:
    """List a cluster's nodes.

    Raises:
        Deferred: the quota has no room, nodes have come too recently to be listed reliably, or what is listed
            cannot be counted. Then nothing may be requested: the nodes that are missing may be there.
        EhpcError: the listing has no usable reply.
    """
    cluster = await ctx.ledger.cluster(cluster_id)
    shown_at = cluster.changed_at + round(ctx.settings.log_lag_s * 1000)
    if cluster.changed_at and ctx.clock.now_ms() < shown_at:
        message = f"an operation has just ended on cluster {cluster_id}: its nodes may not be listed yet"
        raise Deferred(shown_at, Reason(kind=SETTLING, message=message))
    listing = await list_cluster_nodes(ctx, zone, cluster_id, CallPriority.SUBMIT)
    if doubts := [*listing.flaws, *unknown_roles(listing.rows)] or await missing_nodes(
        ctx, zone, cluster, listing.rows
    ):
        message = f"the nodes of cluster {cluster_id} cannot be counted: {'; '.join(doubts)}"
        raise Deferred(ctx.clock.now_ms() + UNCLEAR_RETRY_MS, Reason(kind=UNCLEAR, message=message))
    await restore_account(ctx, await ctx.ledger.account())
    return NodeListing(listing.rows, cluster.locked_by, cluster.changed_at)


def unknown_roles(rows: Sequence[NodeRow]) -> list[str]:
    """Return what keeps nodes from being counted: they may be of the role that is counted."""
    unknown = {row.role for row in rows if row.status not in GONE} - ROLES - OTHER_ROLES
    return [f"the role {role!r} is unknown" for role in sorted(unknown)]


async def count_role(ledger: Ledger, cluster: Cluster, listing: NodeListing, role: str) -> Count:
    """Count the nodes of `role` by a listing that fits the cluster."""
    now = ledger.clock.now_ms()
    operation = None if cluster.locked_by is None else await ledger.operation(cluster.locked_by)
    on_its_way = 0
    if operation is not None and _is_under_way(operation, role):
        on_its_way = operation.node_count
    async for request in ledger.overview.waiting(cluster.cluster_id):
        on_its_way += unassigned_of(request, role, now)
    return Count(present_of(listing.rows, role, operation), on_its_way)


def present_of(rows: Sequence[NodeRow], role: str, operation: Operation | None) -> int:
    """Count the nodes of `role` that are not gone, without those that `operation`, which runs, has added.

    As clocks differ, only a node made some seconds after the call was sent is certainly its own. Another one
    counts twice, and fewer are requested: the opposite error would buy too many.
    """
    there = [row for row in rows if row.role == role and row.status not in GONE]
    if operation is None or not _is_under_way(operation, role) or operation.sent_at is None:
        return len(there)
    since = operation.sent_at + CLOCK_MARGIN_MS
    added = [
        row for row in there if row.create_time is not None and row.create_time.timestamp() * 1000 > since
    ]
    return len(there) - min(len(added), operation.node_count)


def unassigned_of(request: Request, role: str, now: int) -> int:
    """Return the nodes of `role` that the request still wants and may still get."""
    spec = request.spec
    if spec is None or spec.node_role != role or request.ended or request.deadline_at <= now:
        return 0
    return request.unassigned_nodes


def _is_under_way(operation: Operation, role: str) -> bool:
    return not operation.ended and operation.node_role == role
