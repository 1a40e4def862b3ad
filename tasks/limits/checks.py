"""PURE: what the policy says against a request as a whole, before anything is planned for it. Times in ms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from config.policy.model import Policy
from tasks.contract.request import RequestContent
from tasks.limits.applicable import (
    HOUR_S,
    Limit,
    RollingLimit,
    in_flight,
    in_flight_counter,
    per_cluster,
    per_request,
    rolling,
)
from tasks.limits.usage import Usage, UsageCounter
from tasks.limits.violation import Violation


@dataclass(frozen=True, slots=True)
class CurrentUsage:
    """What limits are compared with. `present`: nodes of the cluster, None if they were not counted."""

    counters: Mapping[UsageCounter, Usage] = field(default_factory=dict)
    present: int | None = None

    def of(self, counter: UsageCounter) -> Usage:
        return self.counters.get(counter, Usage())


def permanent_violations(policy: Policy, request: RequestContent) -> list[Violation]:
    """Return what the request can never get by this policy, however long it waits."""
    cluster_id, nodes = request.cluster_id, request.node_count
    refused = policy.allow.refused(cluster_id=cluster_id, zone=request.zone, role=request.node_role)
    found = [
        Violation(rule, globs, value, nodes, f"{rule.removeprefix('allow.')[:-1]} {value} is not among them")
        for rule, value, globs in refused
    ]
    of_request = per_request(policy, cluster_id, request.requested_by)
    found += _alone_over(of_request, nodes, f"the request is for {nodes} nodes")
    found += _alone_over(per_cluster(policy, cluster_id), nodes, f"the request alone is for {nodes} nodes")
    if request.exclusive:
        # Its nodes are named, so they are bought in one call or not at all.
        limits = (*in_flight(policy, cluster_id), *rolling(policy, cluster_id, request.requested_by))
        found += _alone_over(limits, nodes, f"{nodes} named nodes need one call")
    return found


def _alone_over(limits: Sequence[Limit], nodes: int, what: str) -> list[Violation]:
    return [Violation(limit.rule, limit.maximum, 0, nodes, what) for limit in limits if nodes > limit.maximum]


def check(policy: Policy, request: RequestContent, usage: CurrentUsage) -> list[Violation]:
    """Return all violations if `request` were accepted now, those included that only make it wait."""
    never = permanent_violations(policy, request)
    reported = {violation.rule for violation in never}
    cluster_id, nodes = request.cluster_id, request.node_count
    under_way = usage.of(in_flight_counter(cluster_id)).used
    found = [
        over(limit, usage.of(limit.counter), nodes)
        for limit in rolling(policy, cluster_id, request.requested_by)
        if usage.of(limit.counter).used + nodes > limit.maximum
    ]
    found += [
        over_in_flight(limit, under_way, nodes)
        for limit in in_flight(policy, cluster_id)
        # One that waits bounds the operations, which run one after the other in any case.
        if not limit.waits and under_way + nodes > limit.maximum
    ]
    if usage.present is not None:
        total = usage.present + under_way
        found += [
            over_in_cluster(limit, total, nodes)
            for limit in per_cluster(policy, cluster_id)
            if total + nodes > limit.maximum
        ]
    return never + [violation for violation in found if violation.rule not in reported]


def over(limit: RollingLimit, usage: Usage, nodes: int) -> Violation:
    window = "hour" if limit.counter.window_s == HOUR_S else "day"
    what = (
        f"{usage.used} nodes were bought in the last {window} or are on their way, "
        f"{nodes} more would be {usage.used + nodes}"
    )
    until = room_at(usage, limit.maximum - nodes) if limit.waits else None
    return Violation(limit.rule, limit.maximum, usage.used, nodes, what, limit.waits, until)


def over_in_flight(limit: Limit, under_way: int, nodes: int) -> Violation:
    what = f"{under_way} nodes are requested and not settled yet, {nodes} more would be {under_way + nodes}"
    return Violation(limit.rule, limit.maximum, under_way, nodes, what, limit.waits)


def over_in_cluster(limit: Limit, present: int, nodes: int) -> Violation:
    what = f"{present} nodes are there or on their way, {nodes} more would be {present + nodes}"
    return Violation(limit.rule, limit.maximum, present, nodes, what, limit.waits)


def room_at(usage: Usage, at_most: int) -> int | None:
    """Return when the counter shows at most `at_most` if nothing else is bought; None if that is unknown."""
    used = usage.used
    for at, nodes in usage.leaving:
        used -= nodes
        if used <= at_most:
            return at
    return None


def fatal(violations: Sequence[Violation]) -> list[Violation]:
    """Return the violations that reject a request instead of making it wait."""
    return [violation for violation in violations if not violation.waits]
