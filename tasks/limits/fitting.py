"""PURE: how much of what the next operation would serve fits into the limits. Times in ms."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from config.policy.model import Policy
from tasks.contract.request import MAX_NODES_PER_OPERATION, RequestContent
from tasks.limits.applicable import Limit, in_flight, per_cluster, rolling
from tasks.limits.checks import CurrentUsage, over, over_in_cluster, permanent_violations
from tasks.limits.violation import Violation


@dataclass(frozen=True, slots=True)
class Part:
    """What a request would get of the operation: `nodes` of its `unassigned` ones."""

    request: RequestContent
    nodes: int
    unassigned: int

    @property
    def name(self) -> str:
        return self.request.request_id


@dataclass(slots=True)
class Fit:
    """By request: the nodes it gets now, why it is rejected, or why it (or the rest of it) waits."""

    fits: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, list[Violation]] = field(default_factory=dict)
    waiting: dict[str, Violation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit, the nodes that it counts now, and the violation if the part does not fit."""

    limit: Limit
    used: int
    violation: Violation

    @property
    def room(self) -> int:
        return self.limit.maximum - self.used


def fit(policy: Policy, parts: Sequence[Part], usage: CurrentUsage) -> Fit:
    """Fit `parts`, all of one cluster, in order; a part that does not fit is skipped.

    A limit that rejects is compared with all that a request still wants, so that none is begun that cannot
    be completed. Under one that waits, a request that takes several operations anyway, or is larger than the
    limit, gets what there is room for.
    """
    result = Fit()
    for part in parts:
        if never := permanent_violations(policy, part.request):
            result.rejected[part.name] = never
            continue
        nodes = _by_size(policy, part, sum(result.fits.values()))
        if nodes == 0:
            break
        bounds = _bounds(policy, part, usage, nodes)
        final = [one.violation for one in bounds if not one.limit.waits and part.unassigned > one.room]
        if final:
            result.rejected[part.name] = final
            continue
        tight = [bound for bound in bounds if bound.limit.waits and nodes > bound.room]
        if tight:
            narrowest = min(tight, key=lambda bound: bound.room)
            result.waiting[part.name] = narrowest.violation
            nodes = narrowest.room if all(_divides(part, bound) for bound in tight) else 0
        if nodes > 0:
            result.fits[part.name] = nodes
            usage = _with(policy, part, nodes, usage)
    return result


def max_nodes_per_operation(policy: Policy, cluster_id: str) -> int:
    """A cluster's operation is all that is being bought there, so it is within what may be in flight."""
    return min([MAX_NODES_PER_OPERATION, *(limit.maximum for limit in in_flight(policy, cluster_id))])


def _by_size(policy: Policy, part: Part, assigned: int) -> int:
    """Return what of the part has room in the operation: nothing if others leave too little."""
    room = max_nodes_per_operation(policy, part.request.cluster_id) - assigned
    if part.nodes <= room:
        return part.nodes
    return 0 if assigned else room


def _bounds(policy: Policy, part: Part, usage: CurrentUsage, nodes: int) -> list[Bound]:
    cluster_id, requested_by = part.request.cluster_id, part.request.requested_by
    found = []
    for limit in rolling(policy, cluster_id, requested_by):
        shown = usage.of(limit.counter)
        violation = over(limit, shown, nodes if limit.waits else part.unassigned)
        found.append(Bound(limit, shown.used, violation))
    if usage.present is not None:
        for total in per_cluster(policy, cluster_id):
            violation = over_in_cluster(total, usage.present, nodes if total.waits else part.unassigned)
            found.append(Bound(total, usage.present, violation))
    return found


def _divides(part: Part, bound: Bound) -> bool:
    if part.request.exclusive or bound.room <= 0:
        return False
    return part.request.node_count > MAX_NODES_PER_OPERATION or part.unassigned > bound.limit.maximum


def _with(policy: Policy, part: Part, nodes: int, usage: CurrentUsage) -> CurrentUsage:
    """Return the usage once `part` gets `nodes`."""
    counters = dict(usage.counters)
    limits = rolling(policy, part.request.cluster_id, part.request.requested_by)
    for counter in {limit.counter for limit in limits}:
        before = usage.of(counter)
        counters[counter] = replace(before, used=before.used + nodes)
    present = None if usage.present is None else usage.present + nodes
    return CurrentUsage(counters, present)
