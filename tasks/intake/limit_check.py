"""Check an arriving request against the policy; planning checks it again before anything is bought."""

from collections.abc import Callable, Sequence

from config.policy.model import Policy, PolicyLimits
from tasks.contract.request import RequestContent
from tasks.intake.limit_usage import is_current, request_usage
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Request
from tasks.ledger.usage_entries import LimitCheck
from tasks.limits.applicable import in_flight, in_flight_counter, per_cluster, restricts, rolling
from tasks.limits.checks import CurrentUsage, check, fatal
from tasks.limits.violation import Violation
from tasks.state_machine.plan_limits import limit_event, reason_of
from tasks.state_machine.request_outcome import end_request


class IntakeLimits:
    """Without a policy nothing is read and nothing more is written."""

    def __init__(self, ledger: Ledger, policy: Callable[[], Policy]) -> None:
        self._ledger = ledger
        self._policy = policy

    async def violations(self, spec: RequestContent) -> list[Violation]:
        """Return the rules that reject the request now; one that may wait is accepted."""
        policy = self._policy()
        if not restricts(policy):
            return []
        usage = CurrentUsage()
        if _may_reject_by_usage(policy, spec):
            usage = await request_usage(self._ledger, policy, spec, await self._present(policy, spec))
        return fatal(check(policy, spec, usage))

    def reserve(self, changes: ChangeSet, request: Request) -> Request:
        """Return the request as it is counted; `changes` apply only if limits in flight have room for it."""
        policy, spec = self._policy(), request.valid_spec
        if policy.limits == PolicyLimits():
            return request
        counter = in_flight_counter(spec.cluster_id)
        changes.add(
            *(
                LimitCheck(counter.scope, counter.window_s, spec.node_count, limit.maximum)
                for limit in in_flight(policy, spec.cluster_id)
                if not limit.waits
            )
        )
        return request.model_copy(update={"counter": counter})

    async def _present(self, policy: Policy, spec: RequestContent) -> int | None:
        """Return the nodes that the last plan had counted; intake has no credentials to count them."""
        if not per_cluster(policy, spec.cluster_id):
            return None
        cluster = await self._ledger.cluster(spec.cluster_id)
        valid = is_current(cluster.nodes, cluster, self._ledger.clock.now_ms())
        return cluster.nodes.present if valid and cluster.nodes is not None else None


def _may_reject_by_usage(policy: Policy, spec: RequestContent) -> bool:
    limits = [
        *rolling(policy, spec.cluster_id, spec.requested_by),
        *in_flight(policy, spec.cluster_id),
        *per_cluster(policy, spec.cluster_id),
    ]
    return any(not limit.waits for limit in limits)


def stage_over_limit(changes: ChangeSet, request: Request, violations: Sequence[Violation], now: int) -> None:
    """Stage a request in `changes`, ended as `rejected` with every rule that it breaks."""
    for violation in violations:
        changes.record(limit_event(request.request_id, violation, rejects=True))
    update = {"unassigned_nodes": 0, "last_reason": reason_of(violations)}
    end_request(changes, request.model_copy(update=update), "rejected", now)
