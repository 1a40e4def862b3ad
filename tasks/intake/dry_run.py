"""Estimate the result of a request from the ledger alone: nothing is written or called."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from config.policy.model import Policy
from config.timestamps import timestamp
from tasks.contract.dry_run import BrokenRule, DryRun, ExpectedCalls, ExpectedDuration
from tasks.contract.outcome import OutcomeError
from tasks.contract.request import MAX_NODES_PER_OPERATION, REQUEST_ID, ScaleOutRequest
from tasks.ehpc.actions import PAGE
from tasks.intake.limit_usage import request_usage
from tasks.ledger.durations import Duration, percentile
from tasks.ledger.ledger import Ledger, Lookup
from tasks.ledger.pools import pool_of
from tasks.ledger.records import Cluster, Request
from tasks.limits.applicable import per_cluster
from tasks.limits.checks import check, fatal
from tasks.limits.fitting import max_nodes_per_operation
from tasks.quota.rate_limiter import EXHAUSTED
from tasks.state_machine import blocked_account, circuit_breaker, pauses
from tasks.state_machine.plan_limits import reason_of

CALLS_OF_A_SUBMISSION = 2  # the baseline, and addNodes
CONFLICT = "request_id {} was used before with other content{}: choose another"


async def dry_run(ledger: Ledger, policy: Policy, spec: ScaleOutRequest, *, poll_interval_s: float) -> DryRun:
    """Return everything but the purchase: policy, planned operations, expected durations and calls.

    The cluster's nodes are not counted for this; the last count is used, and shown with its time.
    """
    known, _ = await ledger.subscribe(spec.request_id, spec.fingerprint(), None)
    if known is Lookup.CONFLICT:
        message = conflict_text(spec.request_id, spec, await ledger.request(spec.request_id))
        return answer(spec, OutcomeError(code=None, kind="conflict", message=message))
    if known is not Lookup.NOT_FOUND:
        return answer(spec, known=True)
    cluster = await ledger.cluster(spec.cluster_id)
    limited = bool(per_cluster(policy, spec.cluster_id))
    count = cluster.nodes if limited else None
    usage = await request_usage(ledger, policy, spec, None if count is None else count.present)
    broken = check(policy, spec, usage)
    counted: dict[str, Any] = {
        "nodes_present": None if count is None else count.present,
        "counted_at": None if count is None else timestamp(count.at),
        "broken_rules": [BrokenRule.model_validate(rule.as_json()) for rule in broken],
    }
    if rejecting := fatal(broken):
        reason = reason_of(rejecting)
        return answer(spec, OutcomeError(code=None, kind=reason.kind, message=reason.message), **counted)
    operations = sizes(spec.node_count, max_nodes_per_operation(policy, spec.cluster_id))
    before = await _operations_before(ledger, cluster)
    durations = await ledger.overview.durations(spec.cluster_id, pool_of(spec))
    pages = max(1, ceil((0 if count is None else count.present) / PAGE)) if limited else 0
    expected = expected_duration(durations, len(operations), before)
    return answer(
        spec,
        waits=bool(broken),
        **counted,
        operations=operations,
        operations_before=before,
        blocked_by=await _blocked_by(ledger, spec, cluster),
        expected_duration=expected,
        expected_calls=ExpectedCalls(
            submitting=CALLS_OF_A_SUBMISSION * len(operations),
            counting=pages * len(operations),
            polling=_polls(durations, len(operations), poll_interval_s),
        ),
    )


def invalid(given: Mapping[str, Any], problems: Sequence[str]) -> DryRun:
    """Return the answer to an invalid request."""
    request_id = given.get("request_id")
    usable = isinstance(request_id, str) and REQUEST_ID.fullmatch(request_id)
    error = OutcomeError(code=None, kind="invalid", message="; ".join(problems))
    return DryRun(request_id=str(request_id) if usable else None, status="rejected", error=error)


def answer(
    spec: ScaleOutRequest, error: OutcomeError | None = None, *, waits: bool = False, **found: Any
) -> DryRun:
    return DryRun(
        request_id=spec.request_id,
        cluster_id=spec.cluster_id,
        zone=spec.zone,
        node_role=spec.node_role,
        status="rejected" if error else "waiting" if waits else "accepted",
        nodes_requested=spec.node_count,
        error=error,
        requested_by=spec.requested_by,
        **found,
    )


def sizes(nodes: int, maximum: int) -> list[int]:
    """Return the node counts of the operations that `nodes` take, alone on their cluster."""
    whole, rest = divmod(nodes, maximum)
    return [maximum] * whole + ([rest] if rest else [])


def expected_duration(durations: Sequence[Duration], own: int, before: int) -> ExpectedDuration | None:
    """Return what `own` operations of the pool take, behind `before` others; None if none was ever seen."""
    seen = [duration.ms for duration in durations if duration.ok]
    p50, p90 = percentile(seen, 0.5), percentile(seen, 0.9)
    if p50 is None or p90 is None:
        return None
    rounds = own + before
    return ExpectedDuration(p50_s=rounds * p50 / 1000, p90_s=rounds * p90 / 1000, operations_seen=len(seen))


def _polls(durations: Sequence[Duration], own: int, poll_interval_s: float) -> int | None:
    expected = expected_duration(durations, own, 0)
    return None if expected is None else ceil(expected.p50_s / poll_interval_s)


async def _blocked_by(ledger: Ledger, spec: ScaleOutRequest, cluster: Cluster) -> list[str]:
    """Return what keeps new operations of its pool from being sent now, a sentence each."""
    now, found = ledger.clock.now_ms(), []
    account, pause = await ledger.account(), (await ledger.pauses(spec.cluster_id)).in_force(now)
    if account.blocked_since is not None:
        found.append(blocked_account.describe(account))
    if pause is not None:
        found.append(pauses.describe(pause))
    breaker = cluster.breakers.get(pool_of(spec))
    if breaker is not None and breaker.is_open:
        found.append(circuit_breaker.describe(breaker))
    suspended_until = await ledger.submissions_suspended_until()
    if suspended_until is not None:
        found.append(f"{EXHAUSTED}, until {timestamp(suspended_until)}")
    return found


async def _operations_before(ledger: Ledger, cluster: Cluster) -> int:
    """Count the one that locks the cluster and what waits already; small requests of a pool share one."""
    waiting: dict[str, int] = {}
    async for request in ledger.overview.waiting(cluster.cluster_id):
        waiting[request.pool] = waiting.get(request.pool, 0) + request.unassigned_nodes
    of_pools = (len(sizes(nodes, MAX_NODES_PER_OPERATION)) for nodes in waiting.values())
    return (cluster.locked_by is not None) + sum(of_pools)


def conflict_text(request_id: str, spec: ScaleOutRequest | None, before: Request | None) -> str:
    """Return why a request is not the one of the same id, with the fields that differ."""
    if spec is None or before is None or before.spec is None:
        return CONFLICT.format(request_id, "")
    now, then = (one.model_dump(mode="json") for one in (spec.content, before.spec))
    differ = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    return CONFLICT.format(request_id, f" ({', '.join(differ)})" if differ else "")
