"""Compares a request that comes in with the policy; the plan compares it again before anything is bought."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from config.policy.model import Policy, PolicyLimits
from tasks.contract.request import ScaleOutRequest
from tasks.intake.limit_usage import figures_of, holds
from tasks.ledger.change_set import Changes
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Meter, Request
from tasks.ledger.usage_counters import Within
from tasks.limits.applicable import in_flight, in_flight_meter, per_cluster, restricts, rolling
from tasks.limits.checks import Figures, against, that_end_it
from tasks.limits.violation import Violation
from tasks.state_machine.plan_limits import over_limit, refusal_of
from tasks.state_machine.request_outcome import end_request


class IntakeGuard:
    """Without a policy nothing is read and nothing is written more."""

    def __init__(self, ledger: Ledger, policy: Callable[[], Policy]) -> None:
        self._ledger = ledger
        self._policy = policy

    async def refuses(self, form: ScaleOutRequest) -> list[Violation]:
        """The rules that end the request here and now; what may wait is taken in."""
        policy = self._policy()
        if not restricts(policy):
            return []
        figures = Figures()
        if self._ends_by_figures(policy, form):
            figures = await figures_of(self._ledger, policy, form, await self._present(policy, form))
        return that_end_it(against(policy, form, figures))

    def admit(self, changes: Changes, request: Request) -> Request:
        """The request as it is counted; `changes` are applied only if limits in flight have room for it."""
        policy, form = self._policy(), request.form
        if policy.limits == PolicyLimits():
            return request
        scope = in_flight_meter(form.cluster_id)
        changes.within += [
            Within(scope.scope, scope.window_s, form.node_count, limit.most)
            for limit in in_flight(policy, form.cluster_id)
            if not limit.waits
        ]
        return request.model_copy(update={"meter": Meter(scope=scope.scope, window_s=scope.window_s)})

    async def _present(self, policy: Policy, form: ScaleOutRequest) -> int | None:
        """What the last plan has had counted. Intake has no credentials to count by itself."""
        if not per_cluster(policy, form.cluster_id):
            return None
        cluster = await self._ledger.cluster(form.cluster_id)
        valid = holds(cluster.nodes, cluster, self._ledger.clock.now_ms())
        return cluster.nodes.present if valid and cluster.nodes is not None else None

    @staticmethod
    def _ends_by_figures(policy: Policy, form: ScaleOutRequest) -> bool:
        limits = [
            *rolling(policy, form.cluster_id, form.requested_by),
            *in_flight(policy, form.cluster_id),
            *per_cluster(policy, form.cluster_id),
        ]
        return any(not limit.waits for limit in limits)


def turned_away(changes: Changes, request: Request, violations: Sequence[Violation], now: int) -> Request:
    """The request ends as `rejected`, with every rule that it breaks."""
    for violation in violations:
        changes.tell(over_limit(request.request_id, violation, ends=True))
    refused = request.model_copy(update={"wanted": 0, "last_refusal": refusal_of(violations)})
    return end_request(changes, refused, "rejected", now)
