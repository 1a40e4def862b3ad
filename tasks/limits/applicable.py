"""PURE: which limits of the policy hold for a request, and which counter each is measured by."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from config.policy.model import Allow, Limits, Policy, PolicyLimits, ProducerLimits
from tasks.limits.usage import UsageCounter

HOUR_S = 3_600
DAY_S = 86_400
UNTIL_SETTLED = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `maximum` nodes.

    Fields:
        rule: its key path in the policy.
        waits: whether what is over it waits; otherwise it is rejected.
    """

    rule: str
    maximum: int
    waits: bool


@dataclass(frozen=True, slots=True)
class RollingLimit(Limit):
    """A limit by hour or day, measured by `counter`."""

    counter: UsageCounter


def restricts(policy: Policy) -> bool:
    """Return whether the policy restricts what may be bought."""
    return policy.limits != PolicyLimits() or policy.allow != Allow()


def counters_of(policy: Policy, cluster_id: str, producers: Iterable[str | None]) -> list[UsageCounter]:
    """Return the counters of an operation: by hour and day, for the account, its cluster and its producers.

    Account and cluster are counted as soon as the policy has any limit, so that a limit by hour or day that
    is added later knows what was bought before; producers only if the policy has a table for them.
    """
    if policy.limits == PolicyLimits():
        return []
    scopes = [UsageCounter("account", 0), in_flight_counter(cluster_id)]
    known = {name for name in producers if name is not None and name in policy.limits.producers}
    scopes += [_of_producer(name) for name in sorted(known)]
    return [replace(scope, window_s=window_s) for scope in scopes for window_s in (HOUR_S, DAY_S)]


def in_flight_counter(cluster_id: str) -> UsageCounter:
    """Return the counter of nodes that were requested on a cluster and are not settled yet."""
    return UsageCounter(f"cluster:{cluster_id}", UNTIL_SETTLED)


def rolling(policy: Policy, cluster_id: str, requested_by: str | None) -> list[RollingLimit]:
    """Return the limits by hour and day that a request has to keep to."""
    found = []
    for path, table in policy.limits.tables(cluster_id, requested_by):
        scope = _scope(table, cluster_id, requested_by)
        for name, window_s in (("nodes_per_hour", HOUR_S), ("nodes_per_day", DAY_S)):
            if (maximum := getattr(table, name)) is not None:
                counter = replace(scope, window_s=window_s)
                found.append(RollingLimit(f"{path}.{name}", maximum, table.wait, counter))
    return found


def per_cluster(policy: Policy, cluster_id: str) -> list[Limit]:
    """Return the limits of a cluster's total."""
    return _named(policy, "nodes_per_cluster", cluster_id, None)


def in_flight(policy: Policy, cluster_id: str) -> list[Limit]:
    """Return the limits of what may be requested on a cluster and not be settled."""
    return _named(policy, "nodes_in_flight_per_cluster", cluster_id, None)


def per_request(policy: Policy, cluster_id: str, requested_by: str | None) -> list[Limit]:
    """Return the limits of a single request."""
    return _named(policy, "nodes_per_request", cluster_id, requested_by)


def _named(policy: Policy, name: str, cluster_id: str, requested_by: str | None) -> list[Limit]:
    return [
        Limit(f"{path}.{name}", maximum, table.wait)
        for path, table in policy.limits.tables(cluster_id, requested_by)
        if (maximum := getattr(table, name)) is not None
    ]


def _scope(table: Limits, cluster_id: str, requested_by: str | None) -> UsageCounter:
    if isinstance(table, PolicyLimits):
        return UsageCounter("account", 0)
    if isinstance(table, ProducerLimits) and requested_by is not None:
        return _of_producer(requested_by)
    return in_flight_counter(cluster_id)


def _of_producer(name: str) -> UsageCounter:
    return UsageCounter(f"producer:{name}", 0, name)
