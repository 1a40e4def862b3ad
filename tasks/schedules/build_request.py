"""What a schedule asks for, put into one step together with the note that it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from config.policy.model import Schedule
from tasks.contract.request import InvalidRequest, parse_request
from tasks.intake.accept import Intake
from tasks.ledger.change_set import Changes
from tasks.ledger.durations import percentile
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import pool_of
from tasks.schedules.lead_time import SHARE, lead_time_s, learns
from tasks.schedules.node_count import Count, Listing, count_role


@dataclass(frozen=True, slots=True)
class Asking:
    """`changes` holds the request for `node_count` nodes, none if that is 0; `count` is of mode ensure."""

    changes: Changes
    request_id: str | None
    node_count: int
    count: Count | None = None

    @property
    def rejected(self) -> str | None:
        """Why the request ends as it comes, if it does."""
        errors = [outcome.error.message for outcome in self.changes.outcomes if outcome.error is not None]
        return errors[0] if errors else None


async def ask(
    ledger: Ledger, intake: Intake, schedule: Schedule, request_id: str, listing: Listing | None
) -> Asking | None:
    """None if `listing`, which mode ensure needs, is too old to go by.

    The cluster's version is part of the step: demand that comes while it is counted makes the step stale.
    """
    # Not from a ledger that has lost data: it may have forgotten that this moment was asked for.
    changes = Changes(sends=True)
    node_count, count = schedule.node_count, None
    if schedule.mode == "ensure":
        cluster = await ledger.cluster(schedule.cluster_id)
        if listing is None or not listing.fits(cluster):
            return None
        count = await count_role(ledger, cluster, listing, schedule.role)
        node_count = max(0, schedule.node_count - count.present - count.on_its_way)
        changes.checks.append(cluster)
    if node_count == 0:
        return Asking(changes, None, 0, count)
    if await ledger.request(request_id) is None:
        await enter(changes, intake, schedule, request_id, node_count)
    return Asking(changes, request_id, node_count, count)


async def enter(
    changes: Changes, intake: Intake, schedule: Schedule, request_id: str, node_count: int
) -> None:
    """The schedule's request, ended as rejected if it breaks the policy or the contract of requests."""
    fields = schedule.request(request_id, node_count)
    try:
        form = parse_request(fields)
    except InvalidRequest as error:
        intake.enter_refused(changes, request_id, fields, error)
    else:
        intake.enter(changes, form, await intake.refused(form))


async def lead_time_of(ledger: Ledger, schedule: Schedule) -> int:
    """How long before its moments the schedule asks, in seconds, by what its pool has needed lately."""
    if not learns(schedule):
        return lead_time_s(schedule, None)
    try:
        form = parse_request(schedule.request("some"))
    except InvalidRequest:
        return lead_time_s(schedule, None)
    durations = await ledger.overview.durations(form.cluster_id, pool_of(form))
    return lead_time_s(schedule, percentile([known.ms for known in durations if known.ok], SHARE))
