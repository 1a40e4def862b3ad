"""Plans the next operation of a cluster, within the policy, and sends it."""

import secrets
from collections.abc import Sequence

from tasks.ehpc.errors import EhpcError, Rejected
from tasks.handlers.context import Context
from tasks.handlers.provider_calls import Deferred, defer_after_error, list_cluster_nodes
from tasks.handlers.submit_operation import submit_operation
from tasks.intake.limit_usage import COUNT_VALID_MS, is_current, rolling_usage
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.record_values import NodeCount, Reason
from tasks.ledger.records import Cluster, Operation, Request
from tasks.ledger.snapshots import ClusterSnapshot, OperationSnapshot
from tasks.limits.applicable import per_cluster, restricts
from tasks.quota.priorities import CallPriority
from tasks.runtime import tracing
from tasks.runtime.clock import time_then
from tasks.state_machine.node_arrivals import GONE
from tasks.state_machine.plan_limits import PlanLimits
from tasks.state_machine.planning import Plan, PlanRules, plan_cluster
from tasks.state_machine.request_outcome import reject

POOLS_AT_ONCE = 64


async def plan_and_submit(ctx: Context, cluster_id: str) -> None:
    """Plan a cluster now, and send what was planned."""
    began = ctx.clock.now_ms()
    snapshot = await _plan(ctx, cluster_id)
    if snapshot is not None:
        if tracing.is_on():
            _trace_plan(ctx, snapshot, began)
        await submit_operation(ctx, snapshot)


def _trace_plan(ctx: Context, snapshot: OperationSnapshot, began: int) -> None:
    first, *others = [request.traceparent for request in snapshot.served] or [None]
    operation = snapshot.operation
    about: dict[str, tracing.Value] = {
        "operation_id": operation.operation_id,
        "node_count": operation.node_count,
    }
    tracing.record("scaleout plan", began, ctx.clock.now_ms(), parent=first, links=others, **about)


async def _plan(ctx: Context, cluster_id: str) -> OperationSnapshot | None:
    plan, planned = Plan(ChangeSet()), None

    async def build() -> ChangeSet:
        nonlocal plan, planned
        snapshot = await read_cluster(ctx, cluster_id)
        plan = await fit_to_policy(ctx, snapshot)
        planned = None if plan.operation is None else snapshot.snapshot_of(plan.operation)
        return plan.changes

    await ctx.ledger.transact(build)
    return None if planned is None else planned.after(plan.changes)


async def read_cluster(ctx: Context, cluster_id: str) -> ClusterSnapshot:
    """Return what a plan is made from: the pools that waited longest, or all if none of those is ready."""
    snapshot = await ctx.ledger.cluster_snapshot(cluster_id, POOLS_AT_ONCE)
    now = ctx.clock.now_ms()
    if not snapshot.has_more or snapshot.cluster.locked_by is not None:
        return snapshot
    if snapshot.pauses.in_force(now) is not None or snapshot.waits_until() > now:
        return snapshot
    if plan_cluster(snapshot, _rules(ctx), now=now, operation_id="").operation is not None:
        return snapshot
    return await ctx.ledger.cluster_snapshot(cluster_id)


def _rules(ctx: Context) -> PlanRules:
    settings = ctx.settings
    return PlanRules(
        coalesce_ms=round(settings.coalesce_window_s * 1000),
        lease_ms=ctx.lease_ms,
        probe_ms=round(settings.retry_backoff_s * 1000),
    )


async def fit_to_policy(ctx: Context, snapshot: ClusterSnapshot) -> Plan:
    """Return a plan that keeps to the policy. Without a policy nothing is read or called for it."""
    rules, operation_id = _rules(ctx), f"op-{secrets.token_hex(8)}"
    plan = plan_cluster(snapshot, rules, now=ctx.clock.now_ms(), operation_id=operation_id)
    cluster, policy = snapshot.cluster, ctx.policy()
    if plan.operation is None or not restricts(policy):
        return plan
    present = None
    if per_cluster(policy, cluster.cluster_id):
        if cluster.nodes is None or not is_current(cluster.nodes, cluster, ctx.clock.now_ms()):
            return await _count_first(ctx, cluster, plan.operation.zone, plan.serves)
        present = cluster.nodes.present
    specs = [request.valid_spec for request in plan.serves]
    limits = PlanLimits(policy, await rolling_usage(ctx.ledger, policy, specs, present))
    return plan_cluster(snapshot, rules, now=ctx.clock.now_ms(), operation_id=operation_id, limits=limits)


async def _count_first(ctx: Context, cluster: Cluster, zone: str, requests: Sequence[Request]) -> Plan:
    """Count the cluster's nodes. The step that records the count has the cluster planned again."""
    began = ctx.clock.monotonic_ms()
    try:
        listing = await list_cluster_nodes(ctx, zone, cluster.cluster_id, CallPriority.SUBMIT)
    except Deferred as deferred:
        return _postponed(cluster, deferred)
    except Rejected as error:
        return _not_countable(cluster, requests, error, ctx.clock.now_ms())
    except EhpcError as error:
        return _postponed(cluster, await defer_after_error(ctx, error, cluster.consecutive_failures))
    # What cannot be read may be there: a limit is rather kept too early than broken.
    present = max(
        sum(row.status not in GONE for row in listing.rows) + listing.unreadable,
        (listing.last_counted or 0) - sum(row.status in GONE for row in listing.rows),
    )
    last = None if cluster.last_operation is None else await ctx.ledger.operation(cluster.last_operation)
    lag_ms = round(ctx.settings.log_lag_s * 1000)
    count = NodeCount(
        present=max(present, _at_least(cluster, last, time_then(ctx.clock, began), lag_ms)),
        # From the end of the listing on: one of many pages may take long, and must be valid all the same.
        at=ctx.clock.now_ms(),
        after=cluster.last_operation,
    )

    async def build() -> ChangeSet | None:
        current = await ctx.ledger.cluster(cluster.cluster_id)
        if current.last_operation != cluster.last_operation:
            # An operation has come between: this count would not be used, and another may be there.
            return None
        changes = ChangeSet()
        changes.write(current.model_copy(update={"nodes": count}))
        return changes

    await ctx.ledger.transact(build)
    # It conflicts with the version that the count has written, so that the plan is made again.
    return Plan(ChangeSet(expected=[cluster]))


def _at_least(cluster: Cluster, last: Operation | None, began: int, lag_ms: int) -> int:
    """Return what must be there if a listing from `began` on may lack nodes of an operation just ended."""
    before = cluster.nodes
    if before is None or last is None or last.finished_at is None or began - last.finished_at > lag_ms:
        return 0
    return before.present + last.nodes_added if last.planned_at - before.at <= COUNT_VALID_MS else 0


def _postponed(cluster: Cluster, deferred: Deferred) -> Plan:
    failures = cluster.consecutive_failures + 1
    update = {
        "not_before": deferred.until,
        "wait_reason": deferred.reason,
        "consecutive_failures": failures,
    }
    changes = ChangeSet()
    changes.write(cluster.model_copy(update=update))
    changes.schedule(cluster.due, deferred.until)
    return Plan(changes)


def _not_countable(cluster: Cluster, requests: Sequence[Request], error: Rejected, now: int) -> Plan:
    """The provider does not let the cluster's nodes be listed: a limit on them cannot be kept."""
    changes = ChangeSet(expected=[cluster])
    message = f"the nodes of cluster {cluster.cluster_id} could not be counted: {error}"
    for request in requests:
        reject(changes, request, Reason(kind=error.kind, message=message, code=error.ret_code), now)
    changes.schedule(cluster.due, now)
    return Plan(changes)
