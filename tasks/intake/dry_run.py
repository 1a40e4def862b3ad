"""Says what would come of a request, from what the ledger knows; nothing is written and nobody is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from config.policy.model import Policy
from config.timestamps import timestamp
from tasks.contract.dry_run import BrokenRule, DryRun, ExpectedCalls, ExpectedDuration
from tasks.contract.outcome import OutcomeError
from tasks.contract.request import REQUEST_ID, ScaleOutRequest
from tasks.ehpc.actions import PAGE
from tasks.intake.limit_usage import figures_of
from tasks.ledger.durations import Duration, percentile
from tasks.ledger.ledger import Joined, Ledger
from tasks.ledger.records import Cluster, pool_of
from tasks.limits.applicable import per_cluster
from tasks.limits.checks import against, that_end_it
from tasks.limits.fitting import most_in_operation
from tasks.limits.violation import Violation
from tasks.state_machine.plan_limits import GUARDRAIL

CALLS_OF_A_SUBMISSION = 2  # the baseline, and addNodes
CONFLICT = "request_id {} was used before with other content: choose another"


async def rehearse(
    ledger: Ledger, policy: Policy, form: ScaleOutRequest, *, poll_interval_s: float
) -> DryRun:
    """All but the buying: policy, planned operations, and what they are expected to take.

    The cluster's nodes are not counted for this; the last count is used, and shown with its time.
    """
    known, _ = await ledger.join(form.request_id, form.fingerprint(), None)
    if known is Joined.CONFLICT:
        return answer(
            form, OutcomeError(code=None, kind="conflict", message=CONFLICT.format(form.request_id))
        )
    if known is not Joined.ABSENT:
        return answer(form, known=True)
    cluster = await ledger.cluster(form.cluster_id)
    limited = bool(per_cluster(policy, form.cluster_id))
    count = cluster.nodes if limited else None
    figures = await figures_of(ledger, policy, form, None if count is None else count.present)
    broken = against(policy, form, figures)
    counted: dict[str, Any] = {
        "nodes_present": None if count is None else count.present,
        "counted_at": None if count is None else timestamp(count.at),
        "broken_rules": [BrokenRule.model_validate(rule.as_json()) for rule in broken],
    }
    ends = that_end_it(broken)
    if ends:
        return answer(form, _error(ends), **counted)
    operations = sizes(form.node_count, most_in_operation(policy, form.cluster_id))
    before = await _operations_before(ledger, cluster)
    durations = await ledger.overview.durations(form.cluster_id, pool_of(form))
    pages = max(1, ceil((0 if count is None else count.present) / PAGE)) if limited else 0
    expected = expected_duration(durations, len(operations), before)
    return answer(
        form,
        waits=bool(broken),
        **counted,
        operations=operations,
        operations_before=before,
        expected_duration=expected,
        expected_calls=ExpectedCalls(
            submitting=CALLS_OF_A_SUBMISSION * len(operations),
            counting=pages * len(operations),
            following=_looks(durations, len(operations), poll_interval_s),
        ),
    )


def invalid(given: Mapping[str, Any], problems: Sequence[str]) -> DryRun:
    """The answer to fields that are no valid request."""
    request_id = given.get("request_id")
    usable = isinstance(request_id, str) and REQUEST_ID.fullmatch(request_id)
    error = OutcomeError(code=None, kind="invalid", message="; ".join(problems))
    return DryRun(request_id=str(request_id) if usable else None, status="rejected", error=error)


def answer(
    form: ScaleOutRequest, error: OutcomeError | None = None, *, waits: bool = False, **found: Any
) -> DryRun:
    return DryRun(
        request_id=form.request_id,
        cluster_id=form.cluster_id,
        zone=form.zone,
        node_role=form.node_role,
        status="rejected" if error else "waiting" if waits else "accepted",
        nodes_requested=form.node_count,
        error=error,
        requested_by=form.requested_by,
        **found,
    )


def sizes(nodes: int, most: int) -> list[int]:
    """The operations that so many nodes take, alone on their cluster."""
    whole, rest = divmod(nodes, most)
    return [most] * whole + ([rest] if rest else [])


def expected_duration(durations: Sequence[Duration], own: int, before: int) -> ExpectedDuration | None:
    """`own` operations of the pool, after `before` others that are taken for alike; None without any seen."""
    seen = [duration.ms for duration in durations if duration.ok]
    p50, p90 = percentile(seen, 0.5), percentile(seen, 0.9)
    if p50 is None or p90 is None:
        return None
    rounds = own + before
    return ExpectedDuration(p50_s=rounds * p50 / 1000, p90_s=rounds * p90 / 1000, operations_seen=len(seen))


def _looks(durations: Sequence[Duration], own: int, poll_interval_s: float) -> int | None:
    alone = expected_duration(durations, own, 0)
    return None if alone is None else ceil(alone.p50_s / poll_interval_s)


async def _operations_before(ledger: Ledger, cluster: Cluster) -> int:
    """The one that has the gate, and what waits already; small requests of a pool share one."""
    waiting: dict[str, int] = {}
    async for request in ledger.overview.waiting(cluster.cluster_id):
        waiting[request.pool] = waiting.get(request.pool, 0) + request.wanted
    return (cluster.gate is not None) + sum(len(sizes(nodes, 99)) for nodes in waiting.values())


def _error(broken: Sequence[Violation]) -> OutcomeError:
    message = "; ".join(violation.text for violation in broken)
    return OutcomeError(code=None, kind=GUARDRAIL, message=message)
