"""Pure: which limits of the policy hold for a request, and what each of them is measured by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from config.policy.model import Allow, Limits, Policy, PolicyLimits, ProducerLimits

HOUR_S = 3_600
DAY_S = 86_400
UNTIL_SETTLED = 0


@dataclass(frozen=True, slots=True)
class Meter:
    """A running sum of nodes: over the last `window_s` seconds, or UNTIL_SETTLED.

    `scope` is its name; with a `producer`, only what that one asked for is counted.
    """

    scope: str
    window_s: int
    producer: str | None = None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """At most `most` nodes. `rule`: its key path in the policy; `waits`: what is over it may wait."""

    rule: str
    most: int
    waits: bool


@dataclass(frozen=True, slots=True)
class Metered(Ceiling):
    """A ceiling over a meter."""

    meter: Meter


def restricts(policy: Policy) -> bool:
    """Whether the policy says anything about what may be bought."""
    return policy.limits != PolicyLimits() or policy.allow != Allow()


def meters_of(policy: Policy, cluster_id: str, producers: Iterable[str | None]) -> list[Meter]:
    """What is counted of an operation: by hour and day, for the account, its cluster, and its producers.

    Account and cluster are counted as soon as the policy has any limit, so that a limit by hour or day that
    is added later finds what was bought before it; producers only if the policy has a table for them.
    """
    if policy.limits == PolicyLimits():
        return []
    scopes = [Meter("account", 0), _of_cluster(cluster_id)]
    known = {name for name in producers if name is not None and name in policy.limits.producers}
    scopes += [_of_producer(name) for name in sorted(known)]
    return [replace(scope, window_s=window_s) for scope in scopes for window_s in (HOUR_S, DAY_S)]


def in_flight_meter(cluster_id: str) -> Meter:
    """What requests of a cluster have asked for and what is not settled yet."""
    return _of_cluster(cluster_id)


def rolling(policy: Policy, cluster_id: str, requested_by: str | None) -> list[Metered]:
    """The limits by hour and day that a request has to keep to."""
    found = []
    for path, table in policy.limits.tables(cluster_id, requested_by):
        scope = _scope(table, cluster_id, requested_by)
        for name, window_s in (("nodes_per_hour", HOUR_S), ("nodes_per_day", DAY_S)):
            if (most := getattr(table, name)) is not None:
                meter = replace(scope, window_s=window_s)
                found.append(Metered(f"{path}.{name}", most, table.wait, meter))
    return found


def per_cluster(policy: Policy, cluster_id: str) -> list[Ceiling]:
    """The limits of what a cluster may have in total."""
    return _named(policy, "nodes_per_cluster", cluster_id, None)


def in_flight(policy: Policy, cluster_id: str) -> list[Ceiling]:
    """The limits of what may be asked for on a cluster and not be settled."""
    return _named(policy, "nodes_in_flight_per_cluster", cluster_id, None)


def per_request(policy: Policy, cluster_id: str, requested_by: str | None) -> list[Ceiling]:
    return _named(policy, "nodes_per_request", cluster_id, requested_by)


def _named(policy: Policy, name: str, cluster_id: str, requested_by: str | None) -> list[Ceiling]:
    return [
        Ceiling(f"{path}.{name}", most, table.wait)
        for path, table in policy.limits.tables(cluster_id, requested_by)
        if (most := getattr(table, name)) is not None
    ]


def _scope(table: Limits, cluster_id: str, requested_by: str | None) -> Meter:
    if isinstance(table, PolicyLimits):
        return Meter("account", 0)
    if isinstance(table, ProducerLimits) and requested_by is not None:
        return _of_producer(requested_by)
    return _of_cluster(cluster_id)


def _of_cluster(cluster_id: str) -> Meter:
    return Meter(f"cluster:{cluster_id}", UNTIL_SETTLED)


def _of_producer(name: str) -> Meter:
    return Meter(f"producer:{name}", 0, name)
