"""The request of a schedule, staged in one step together with the record that it was made."""

from dataclasses import dataclass

from config.policy.model import Schedule
from tasks.contract.request import InvalidRequest, parse_request
from tasks.intake.accept import Intake
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.durations import percentile
from tasks.ledger.ledger import Ledger
from tasks.ledger.pools import pool_of
from tasks.schedules.lead_time import PERCENTILE, is_adaptive, lead_time_s
from tasks.schedules.node_count import Count, NodeListing, count_role


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """`changes` hold the request for `node_count` nodes, none if that is 0; `count` is for mode ensure."""

    changes: ChangeSet
    request_id: str | None
    node_count: int
    count: Count | None = None

    @property
    def rejected(self) -> str | None:
        """Why the request is rejected on arrival, if it is."""
        errors = [outcome.error.message for outcome in self.changes.outcomes if outcome.error is not None]
        return errors[0] if errors else None


async def build_request(
    ledger: Ledger, intake: Intake, schedule: Schedule, request_id: str, listing: NodeListing | None
) -> ScheduledRequest | None:
    """Stage what the schedule needs. Returns None if `listing`, which mode ensure needs, is outdated.

    Demand that arrives while nodes are counted makes the step conflict.
    """
    # A ledger that has lost data may have forgotten that this occurrence was handled.
    changes = ChangeSet(sends=True)
    node_count, count = schedule.node_count, None
    if schedule.mode == "ensure":
        cluster, arrivals = (
            await ledger.cluster(schedule.cluster_id),
            await ledger.arrivals(schedule.cluster_id),
        )
        if listing is None or not listing.fits(cluster):
            return None
        count = await count_role(ledger, cluster, listing, schedule.role)
        node_count = max(0, schedule.node_count - count.present - count.on_its_way)
        changes.expected += [cluster, arrivals]
    if node_count == 0:
        return ScheduledRequest(changes, None, 0, count)
    if await ledger.request(request_id) is None:
        await _stage(changes, intake, schedule, request_id, node_count)
    return ScheduledRequest(changes, request_id, node_count, count)


async def _stage(
    changes: ChangeSet, intake: Intake, schedule: Schedule, request_id: str, node_count: int
) -> None:
    """Stage the request, ended as rejected if it breaks the policy or the contract."""
    fields = schedule.request(request_id, node_count)
    try:
        spec = parse_request(fields, of_schedule=True)
    except InvalidRequest as error:
        intake.stage_rejected(changes, request_id, fields, error)
    else:
        intake.stage(changes, spec, await intake.violations(spec))


async def lead_time_of(ledger: Ledger, schedule: Schedule) -> int:
    """Return how many seconds before its occurrences the schedule makes its request."""
    if not is_adaptive(schedule):
        return lead_time_s(schedule, None)
    try:
        spec = parse_request(schedule.request("some"))
    except InvalidRequest:
        return lead_time_s(schedule, None)
    durations = await ledger.overview.durations(spec.cluster_id, pool_of(spec))
    return lead_time_s(schedule, percentile([known.ms for known in durations if known.ok], PERCENTILE))
