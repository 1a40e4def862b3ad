"""Pure: how much of what the next operation would take fits into the limits. Times in ms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from config.policy.model import Policy
from tasks.contract.request import MAX_NODES_PER_OPERATION, ScaleOutRequest
from tasks.limits.applicable import Meter, in_flight, per_cluster, rolling
from tasks.limits.checks import Figures, Usage, allowed_by, over, over_in_cluster
from tasks.limits.violation import Violation


@dataclass(frozen=True, slots=True)
class Part:
    """What a request would get from the operation: `nodes` of the `wanted` ones it still waits for."""

    request: ScaleOutRequest
    nodes: int
    wanted: int

    @property
    def name(self) -> str:
        return self.request.request_id


@dataclass(slots=True)
class Fit:
    """By request: the nodes it gets now, why it ends, or why it waits (for the rest, if it gets some)."""

    taken: dict[str, int] = field(default_factory=dict)
    ended: dict[str, list[Violation]] = field(default_factory=dict)
    waiting: dict[str, Violation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bound:
    """A ceiling with the sum that must stay within it; `nodes` fit if the sum and they are at most `most`."""

    rule: str
    most: int
    waits: bool
    usage: Usage
    said: Violation

    @property
    def room(self) -> int:
        return self.most - self.usage.used


def fit(policy: Policy, parts: Sequence[Part], figures: Figures) -> Fit:
    """Go through `parts`, all of one cluster, in their order; what does not fit is passed by.

    A limit that does not wait is compared with all that a request still wants, so that none is begun that
    cannot be completed. Under one that waits, a request that is bought in several operations anyway, or is
    larger than the limit, gets what there is room for.
    """
    result = Fit()
    now = figures
    for part in parts:
        never = allowed_by(policy, part.request)
        if never:
            result.ended[part.name] = never
            continue
        nodes = _by_size(policy, part, sum(result.taken.values()))
        if nodes == 0:
            break
        bounds = _bounds(policy, part, now, nodes)
        final = [bound.said for bound in bounds if not bound.waits and part.wanted > bound.room]
        if final:
            result.ended[part.name] = final
            continue
        tight = [bound for bound in bounds if bound.waits and nodes > bound.room]
        if tight:
            narrowest = min(tight, key=lambda bound: bound.room)
            result.waiting[part.name] = narrowest.said
            nodes = narrowest.room if all(_divides(part, bound) for bound in tight) else 0
        if nodes > 0:
            result.taken[part.name] = nodes
            now = _with(policy, part, nodes, now)
    return result


def most_in_operation(policy: Policy, cluster_id: str) -> int:
    """A cluster's operation has all that is being bought there, so it is within what may be in flight."""
    return min([MAX_NODES_PER_OPERATION, *(limit.most for limit in in_flight(policy, cluster_id))])


def _by_size(policy: Policy, part: Part, taken: int) -> int:
    """What of it has room in the operation, which is nothing if others leave too little."""
    room = most_in_operation(policy, part.request.cluster_id) - taken
    if part.nodes <= room:
        return part.nodes
    return 0 if taken else room


def _bounds(policy: Policy, part: Part, figures: Figures, nodes: int) -> list[Bound]:
    cluster_id, requested_by = part.request.cluster_id, part.request.requested_by
    found = []
    for limit in rolling(policy, cluster_id, requested_by):
        usage, asked = figures.of(limit.meter), nodes if limit.waits else part.wanted
        found.append(Bound(limit.rule, limit.most, limit.waits, usage, over(limit, usage, asked)))
    if figures.present is not None:
        for total in per_cluster(policy, cluster_id):
            usage, asked = Usage(figures.present), nodes if total.waits else part.wanted
            said = over_in_cluster(total, figures.present, asked)
            found.append(Bound(total.rule, total.most, total.waits, usage, said))
    return found


def _divides(part: Part, bound: Bound) -> bool:
    if part.request.goes_alone or bound.room <= 0:
        return False
    return part.request.node_count > MAX_NODES_PER_OPERATION or part.wanted > bound.most


def _with(policy: Policy, part: Part, nodes: int, figures: Figures) -> Figures:
    """The figures once `part` is given `nodes`."""
    usage = dict(figures.usage)
    meters: set[Meter] = {
        limit.meter for limit in rolling(policy, part.request.cluster_id, part.request.requested_by)
    }
    for meter in meters:
        before = figures.of(meter)
        usage[meter] = replace(before, used=before.used + nodes)
    present = None if figures.present is None else figures.present + nodes
    return Figures(usage, present)
