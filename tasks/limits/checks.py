"""Pure: what the policy says against a request as a whole, before anything is planned for it. Times in ms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from config.policy.model import Policy
from tasks.contract.request import ScaleOutRequest
from tasks.limits.applicable import (
    Ceiling,
    Meter,
    Metered,
    in_flight,
    in_flight_meter,
    per_cluster,
    per_request,
    rolling,
)
from tasks.limits.violation import Violation


@dataclass(frozen=True, slots=True)
class Usage:
    """What a meter shows. `leaving`: nodes by when (ms) their window ends, soonest first, as far as asked."""

    used: int = 0
    leaving: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """What the rules are compared with. `present`: the nodes of the cluster, None if nobody has counted."""

    usage: Mapping[Meter, Usage] = field(default_factory=dict)
    present: int | None = None

    def of(self, meter: Meter) -> Usage:
        return self.usage.get(meter, Usage())


def allowed_by(policy: Policy, request: ScaleOutRequest) -> list[Violation]:
    """What the request can never get by this policy, however long it waits."""
    cluster_id, nodes = request.cluster_id, request.node_count
    found = [
        Violation(rule, globs, value, nodes, f"{rule.removeprefix('allow.')[:-1]} {value} is not among them")
        for rule, value, globs in policy.allow.refused(
            cluster_id=cluster_id, zone=request.zone, role=request.node_role
        )
    ]
    found += [
        Violation(limit.rule, limit.most, 0, nodes, f"the request asks for {nodes} nodes")
        for limit in per_request(policy, cluster_id, request.requested_by)
        if nodes > limit.most
    ]
    found += [
        Violation(limit.rule, limit.most, 0, nodes, f"the request alone asks for {nodes} nodes")
        for limit in per_cluster(policy, cluster_id)
        if nodes > limit.most
    ]
    if request.goes_alone:
        # Its nodes are named, so that they are bought in one call or not at all.
        found += [
            Violation(limit.rule, limit.most, 0, nodes, f"{nodes} named nodes are asked for in one call")
            for limit in (
                *in_flight(policy, cluster_id),
                *rolling(policy, cluster_id, request.requested_by),
            )
            if nodes > limit.most
        ]
    return found


def against(policy: Policy, request: ScaleOutRequest, figures: Figures) -> list[Violation]:
    """All that the policy says against taking `request` in now, what may wait as well."""
    never = allowed_by(policy, request)
    said = {violation.rule for violation in never}
    cluster_id, nodes = request.cluster_id, request.node_count
    under_way = figures.of(in_flight_meter(cluster_id)).used
    found = [
        over(limit, figures.of(limit.meter), nodes)
        for limit in rolling(policy, cluster_id, request.requested_by)
        if figures.of(limit.meter).used + nodes > limit.most
    ]
    found += [
        over_in_flight(limit, under_way, nodes)
        for limit in in_flight(policy, cluster_id)
        # One that waits bounds the operations, which go one after the other in any case.
        if not limit.waits and under_way + nodes > limit.most
    ]
    if figures.present is not None:
        there = figures.present + under_way
        found += [
            over_in_cluster(limit, there, nodes)
            for limit in per_cluster(policy, cluster_id)
            if there + nodes > limit.most
        ]
    return never + [violation for violation in found if violation.rule not in said]


def over(limit: Metered, usage: Usage, nodes: int) -> Violation:
    span = "hour" if limit.meter.window_s == 3600 else "day"
    what = (
        f"{usage.used} nodes were bought in the last {span} or are on their way, "
        f"{nodes} more would be {usage.used + nodes}"
    )
    until = room_at(usage, limit.most - nodes) if limit.waits else None
    return Violation(limit.rule, limit.most, usage.used, nodes, what, limit.waits, until)


def over_in_flight(limit: Ceiling, under_way: int, nodes: int) -> Violation:
    what = f"{under_way} nodes are asked for and not settled yet, {nodes} more would be {under_way + nodes}"
    return Violation(limit.rule, limit.most, under_way, nodes, what, limit.waits)


def over_in_cluster(limit: Ceiling, present: int, nodes: int) -> Violation:
    what = f"{present} nodes are there or on their way, {nodes} more would be {present + nodes}"
    return Violation(limit.rule, limit.most, present, nodes, what, limit.waits)


def room_at(usage: Usage, at_most: int) -> int | None:
    """When the meter shows no more than `at_most`, if nothing else is bought; None if that is not known."""
    used = usage.used
    for at, nodes in usage.leaving:
        used -= nodes
        if used <= at_most:
            return at
    return None


def that_end_it(violations: Sequence[Violation]) -> list[Violation]:
    return [violation for violation in violations if not violation.waits]
