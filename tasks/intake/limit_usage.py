"""Reads what the rules of the policy are compared with, from the ledger alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from config.policy.model import Policy
from tasks.contract.request import ScaleOutRequest
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Cluster, NodeCount
from tasks.limits.applicable import Meter, in_flight_meter, rolling
from tasks.limits.checks import Figures, Usage

COUNT_HOLDS_MS = 60_000


def holds(count: NodeCount | None, cluster: Cluster, now: int) -> bool:
    """Whether a count of the cluster's nodes is recent (ms), and no operation of ours has come since."""
    return count is not None and count.after == cluster.last_operation and now - count.at <= COUNT_HOLDS_MS


async def rolling_figures(
    ledger: Ledger, policy: Policy, forms: Iterable[ScaleOutRequest], present: int | None
) -> Figures:
    """For a plan: what is bought by hour and day, where that is limited for any of `forms`."""
    meters = {limit.meter for form in forms for limit in rolling(policy, form.cluster_id, form.requested_by)}
    return Figures(await usage(ledger, meters), present)


async def figures_of(ledger: Ledger, policy: Policy, form: ScaleOutRequest, present: int | None) -> Figures:
    """For a request as a whole: also what is asked for on its cluster and not settled."""
    meters = {limit.meter for limit in rolling(policy, form.cluster_id, form.requested_by)}
    return Figures(await usage(ledger, {*meters, in_flight_meter(form.cluster_id)}), present)


async def usage(ledger: Ledger, meters: Collection[Meter]) -> dict[Meter, Usage]:
    if not meters:
        return {}
    order = sorted(meters, key=lambda meter: (meter.scope, meter.window_s))
    readings = await ledger.readings([(meter.scope, meter.window_s) for meter in order])
    shown = [Usage(reading.used, reading.leaving) for reading in readings]
    return dict(zip(order, shown, strict=True))
