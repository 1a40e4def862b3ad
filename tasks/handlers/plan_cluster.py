"""Finds out what a plan is compared with by the policy: what is bought lately, and what a cluster has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.ehpc.errors import EhpcError, Rejected
from tasks.handlers.context import Machinery
from tasks.handlers.provider_calls import MustWait, list_cluster_nodes, read_refused
from tasks.intake.limit_usage import COUNT_HOLDS_MS, holds, rolling_figures
from tasks.ledger.change_set import Changes
from tasks.ledger.due import Due, DueKind
from tasks.ledger.records import Cluster, NodeCount, Operation, Refusal, Request
from tasks.limits.applicable import per_cluster, restricts
from tasks.quota.rate_limiter import CallClass
from tasks.state_machine.node_arrivals import GONE
from tasks.state_machine.plan_limits import Guard
from tasks.state_machine.planning import Plan
from tasks.state_machine.request_outcome import leave_demand, write_request


async def within_policy(m: Machinery, cluster: Cluster, make: Callable[[Guard | None], Plan]) -> Plan:
    """The plan that `make` gives, kept within the policy. Without a policy nothing is read or asked for."""
    plan = make(None)
    policy = m.policy()
    if plan.operation is None or not restricts(policy):
        return plan
    requests = plan.serves
    zone = requests[0].form.zone
    present = None
    if per_cluster(policy, cluster.cluster_id):
        if not holds(cluster.nodes, cluster, m.clock.now_ms()) or cluster.nodes is None:
            return await _counted(m, cluster, zone, requests)
        present = cluster.nodes.present
    forms = [request.form for request in requests]
    return make(Guard(policy, await rolling_figures(m.ledger, policy, forms, present)))


async def _counted(m: Machinery, cluster: Cluster, zone: str, requests: Sequence[Request]) -> Plan:
    """Have the cluster's nodes counted. The plan is then made anew: what it was made from has moved on."""
    began = m.clock.now_ms()
    try:
        rows = await list_cluster_nodes(m, zone, cluster.cluster_id, CallClass.SUBMIT)
    except MustWait as wait:
        return _postponed(cluster, wait)
    except Rejected as error:
        return _not_to_be_counted(cluster, requests, error, m.clock.now_ms())
    except EhpcError as error:
        return _postponed(cluster, await read_refused(m, error, cluster.streak))
    present = sum(row.status not in GONE for row in rows)
    last = None if cluster.last_operation is None else await m.ledger.operation(cluster.last_operation)
    lag_ms = round(m.settings.log_lag_s * 1000)
    count = NodeCount(
        present=max(present, _at_least(cluster, last, began, lag_ms)),
        # From the end of the listing on: one of many pages may take long, and must hold all the same.
        at=m.clock.now_ms(),
        after=cluster.last_operation,
    )

    async def build() -> Changes | None:
        current = await m.ledger.cluster(cluster.cluster_id)
        if current.last_operation != cluster.last_operation:
            # An operation has come between: such a count would not be used, and another may be there.
            return None
        changes = Changes()
        changes.put(current.model_copy(update={"nodes": count}))
        return changes

    await m.commit_current(build)
    return Plan(Changes(checks=[cluster]))


def _at_least(cluster: Cluster, last: Operation | None, began: int, lag_ms: int) -> int:
    """What must be there if a listing from `began` on may lack the nodes of an operation just ended."""
    before = cluster.nodes
    if before is None or last is None or last.finished_at is None or began - last.finished_at > lag_ms:
        return 0
    return before.present + last.nodes_added if last.planned_at - before.at <= COUNT_HOLDS_MS else 0


def _postponed(cluster: Cluster, wait: MustWait) -> Plan:
    changes = Changes()
    waits = {"not_before": wait.until, "waits_for": wait.refusal, "streak": cluster.streak + 1}
    changes.put(cluster.model_copy(update=waits))
    changes.due[Due(DueKind.CLUSTER, cluster.cluster_id)] = wait.until
    return Plan(changes)


def _not_to_be_counted(cluster: Cluster, requests: Sequence[Request], error: Rejected, now: int) -> Plan:
    """The provider does not let the cluster's nodes be listed: a limit on them cannot be kept."""
    changes = Changes(checks=[cluster])
    message = f"the nodes of cluster {cluster.cluster_id} could not be counted: {error}"
    refusal = Refusal(kind=error.kind, message=message, code=error.ret_code)
    for request in requests:
        leave_demand(changes, request)
        write_request(changes, request.model_copy(update={"wanted": 0, "last_refusal": refusal}), now)
    changes.due[Due(DueKind.CLUSTER, cluster.cluster_id)] = now
    return Plan(changes)
