"""Reads what the limits of the policy are compared with, from the ledger alone."""

from collections.abc import Collection, Iterable

from config.policy.model import Policy
from tasks.contract.request import RequestContent
from tasks.ledger.ledger import Ledger
from tasks.ledger.record_values import NodeCount
from tasks.ledger.records import Cluster
from tasks.limits.applicable import in_flight_counter, rolling
from tasks.limits.checks import CurrentUsage
from tasks.limits.usage import UsageCounter

COUNT_VALID_MS = 60_000


def is_current(count: NodeCount | None, cluster: Cluster, now: int) -> bool:
    """Return whether a count of the cluster's nodes is recent (ms), with no operation of ours since.

    One from the future was counted by a clock that was ahead: nobody knows when.
    """
    return (
        count is not None and count.after == cluster.last_operation and abs(now - count.at) <= COUNT_VALID_MS
    )


async def rolling_usage(
    ledger: Ledger, policy: Policy, specs: Iterable[RequestContent], present: int | None
) -> CurrentUsage:
    """Return for a plan what was bought by hour and day, where that is limited for any of `specs`."""
    limits = (limit for spec in specs for limit in rolling(policy, spec.cluster_id, spec.requested_by))
    return await _usage(ledger, {limit.counter for limit in limits}, present)


async def request_usage(
    ledger: Ledger, policy: Policy, spec: RequestContent, present: int | None
) -> CurrentUsage:
    """Return for a request also what was requested on its cluster and is not settled."""
    limits = rolling(policy, spec.cluster_id, spec.requested_by)
    counters = {in_flight_counter(spec.cluster_id), *(limit.counter for limit in limits)}
    return await _usage(ledger, counters, present)


async def _usage(ledger: Ledger, counters: Collection[UsageCounter], present: int | None) -> CurrentUsage:
    if not counters:
        return CurrentUsage({}, present)
    order = sorted(counters, key=lambda counter: (counter.scope, counter.window_s))
    return CurrentUsage(dict(zip(order, await ledger.usage(order), strict=True)), present)
