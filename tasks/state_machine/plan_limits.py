"""Pure: keeps the next operation of a cluster within the policy. Times in ms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from config.policy.model import Policy
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.records import Allocation, Meter, Operation, Refusal, Request
from tasks.ledger.usage_counters import Within
from tasks.limits.applicable import meters_of, rolling
from tasks.limits.checks import Figures
from tasks.limits.fitting import Part, fit
from tasks.limits.violation import Violation
from tasks.state_machine.request_outcome import leave_demand, write_request

GUARDRAIL = "guardrail"
LOOK_AGAIN_MS = 60_000
COUNT_AGAIN_MS = 300_000

Taken = list[tuple[Request, int]]


@dataclass(frozen=True, slots=True)
class Guard:
    """The policy, and the figures it is compared with, for one planning of one cluster.

    What others buy meanwhile is not in the figures: `admit` has the script that commits the plan look again.
    """

    policy: Policy
    figures: Figures

    def keep(self, changes: Changes, taken: Sequence[tuple[Request, int]], now: int) -> Taken:
        """What of `taken` may be bought now. The others end or wait, in `changes`."""
        parts = [Part(request.form, nodes, request.wanted) for request, nodes in taken]
        fitting = fit(self.policy, parts, self.figures)
        kept: Taken = []
        for place, (request, _) in enumerate(taken):
            name = request.request_id
            if name in fitting.ended:
                _end(changes, request, fitting.ended[name], now)
                continue
            if name in fitting.waiting:
                waits = _waiting(changes, request, fitting.waiting[name], now, place)
                if name not in fitting.taken:
                    changes.put(waits)
            else:
                waits = request
            if name in fitting.taken:
                kept.append((waits, fitting.taken[name]))
        return kept

    def admit(self, changes: Changes, operation: Operation, taken: Taken) -> Operation:
        """The operation as it is counted; `changes` are applied only if every limit still has room for it."""
        cluster_id = operation.cluster_id
        sums: dict[tuple[str, int, int], int] = {}
        for request, nodes in taken:
            for limit in rolling(self.policy, cluster_id, request.form.requested_by):
                of = (limit.meter.scope, limit.meter.window_s, limit.most)
                sums[of] = sums.get(of, 0) + nodes
        changes.within += [
            Within(scope, window_s, nodes, most) for (scope, window_s, most), nodes in sums.items()
        ]
        producers = {request.request_id: request.form.requested_by for request, _ in taken}
        meters = meters_of(self.policy, cluster_id, producers.values())
        allocations = tuple(
            Allocation(
                request_id=part.request_id,
                node_count=part.node_count,
                requested_by=producers[part.request_id] if meters else None,
            )
            for part in operation.allocations
        )
        counted = tuple(
            Meter(scope=meter.scope, window_s=meter.window_s, producer=meter.producer) for meter in meters
        )
        return operation.model_copy(update={"allocations": allocations, "meters": counted})


def refusal_of(violations: Sequence[Violation]) -> Refusal:
    return Refusal(kind=GUARDRAIL, message="; ".join(violation.text for violation in violations))


def over_limit(request_id: str, violation: Violation, *, ends: bool) -> Event:
    """For the log and the request's history: which rule it was, and whether it ends the request."""
    fields = {key: value for key, value in violation.as_json().items() if key != "asked"}
    fields |= {"kind": GUARDRAIL, "node_count": violation.asked}
    name = "request_refused" if ends else "request_over_limit"
    return Event(name, "warning" if ends else "info", (request_id,), fields)


def _end(changes: Changes, request: Request, violations: Sequence[Violation], now: int) -> None:
    for violation in violations:
        changes.tell(over_limit(request.request_id, violation, ends=True))
    leave_demand(changes, request)
    ended = request.model_copy(update={"wanted": 0, "last_refusal": refusal_of(violations)})
    write_request(changes, ended, now)


def _waiting(changes: Changes, request: Request, violation: Violation, now: int, place: int) -> Request:
    """Waits behind all that can go on: a pool is planned from the first of its queue."""
    before = request.last_refusal
    if before is None or not before.message.startswith(f"{violation.rule} = "):
        changes.tell(over_limit(request.request_id, violation, ends=False))
    again = now + (COUNT_AGAIN_MS if violation.rule.endswith("nodes_per_cluster") else LOOK_AGAIN_MS)
    not_before = min(again, violation.until or again)
    form = request.form
    changes.demand.append((form.cluster_id, request.pool, request.request_id, not_before + place))
    return request.model_copy(update={"not_before": not_before, "last_refusal": refusal_of([violation])})
