"""PURE: keeps the next operation of a cluster within the policy. Times in ms."""

from collections.abc import Sequence
from dataclasses import dataclass

from config.policy.model import Policy
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event
from tasks.ledger.record_values import Allocation, Reason
from tasks.ledger.records import Operation, Request
from tasks.ledger.usage_entries import LimitCheck
from tasks.limits.applicable import counters_of, rolling
from tasks.limits.checks import CurrentUsage
from tasks.limits.fitting import Part, fit
from tasks.limits.violation import Violation
from tasks.state_machine.request_outcome import enter_demand, reject

LIMIT = "limit"
LIMIT_RETRY_MS = 60_000
COUNT_RETRY_MS = 300_000

Parts = list[tuple[Request, int]]


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """The policy, and the usage it is compared with, for planning one cluster once.

    What others buy meanwhile is not in `usage`: `reserve` has the script that commits the plan check again.
    """

    policy: Policy
    usage: CurrentUsage

    def filter(self, changes: ChangeSet, parts: Sequence[tuple[Request, int]], now: int) -> Parts:
        """Return what of `parts` may be bought now. `changes` reject the others, or have them wait."""
        wanted = [Part(request.valid_spec, nodes, request.unassigned_nodes) for request, nodes in parts]
        result = fit(self.policy, wanted, self.usage)
        kept: Parts = []
        for place, (request, _) in enumerate(parts):
            name, current = request.request_id, request
            if violations := result.rejected.get(name):
                for violation in violations:
                    changes.record(limit_event(name, violation, rejects=True))
                reject(changes, request, reason_of(violations), now)
                continue
            if name in result.waiting:
                current = _wait(changes, request, result.waiting[name], now, place)
                if name not in result.fits:
                    changes.write(current)
            if name in result.fits:
                kept.append((current, result.fits[name]))
        return kept

    def reserve(self, changes: ChangeSet, operation: Operation, parts: Parts) -> Operation:
        """Return the operation as it is counted; `changes` apply only if every limit still has room."""
        cluster_id = operation.cluster_id
        sums: dict[tuple[str, int, int], int] = {}
        for request, nodes in parts:
            for limit in rolling(self.policy, cluster_id, request.valid_spec.requested_by):
                of = (limit.counter.scope, limit.counter.window_s, limit.maximum)
                sums[of] = sums.get(of, 0) + nodes
        changes.add(
            *(LimitCheck(scope, window_s, nodes, most) for (scope, window_s, most), nodes in sums.items())
        )
        producers = {request.request_id: request.valid_spec.requested_by for request, _ in parts}
        counters = counters_of(self.policy, cluster_id, producers.values())
        allocations = tuple(
            Allocation(
                request_id=part.request_id,
                node_count=part.node_count,
                requested_by=producers[part.request_id] if counters else None,
            )
            for part in operation.allocations
        )
        return operation.model_copy(update={"allocations": allocations, "counters": tuple(counters)})


def reason_of(violations: Sequence[Violation]) -> Reason:
    return Reason(kind=LIMIT, message="; ".join(violation.text for violation in violations))


def limit_event(request_id: str, violation: Violation, *, rejects: bool) -> Event:
    """Return the event that a limit rejects the request or has it wait."""
    fields = {key: value for key, value in violation.as_json().items() if key != "requested"}
    fields |= {"kind": LIMIT, "node_count": violation.requested}
    name = "request_rejected" if rejects else "request_over_limit"
    return Event(name, "warning" if rejects else "info", (request_id,), fields)


def _wait(changes: ChangeSet, request: Request, violation: Violation, now: int, place: int) -> Request:
    """Have the request wait behind all that fits: a pool is planned from the first of its queue."""
    before = request.last_reason
    if before is None or not before.message.startswith(f"{violation.rule} = "):
        changes.record(limit_event(request.request_id, violation, rejects=False))
    again = now + (COUNT_RETRY_MS if violation.rule.endswith("nodes_per_cluster") else LIMIT_RETRY_MS)
    not_before = min(again, violation.until or again)
    enter_demand(changes, request, not_before + place)
    return request.model_copy(update={"not_before": not_before, "last_reason": reason_of([violation])})
