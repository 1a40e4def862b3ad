"""Compares an operator's decision with the provider's log before it takes effect."""

from dataclasses import replace

from config.timestamps import utc_second
from tasks.ehpc.errors import EhpcError
from tasks.ehpc.job_status import JobStatus
from tasks.ehpc.models import JobRow
from tasks.handlers.context import Context
from tasks.handlers.decision_rules import rules_of, shows_our_action
from tasks.handlers.provider_calls import Deferred, call_with_grant, list_cluster_jobs, reserve
from tasks.handlers.reconcile_operation import count_nodes_made
from tasks.ledger.record_values import MAX_CLOCK_STEP_MS
from tasks.ledger.records import Operation
from tasks.quota.priorities import CallPriority
from tasks.runtime.clock import time_then
from tasks.state_machine.decision import Rules, candidates_of, clock_flaws, hides, vanished
from tasks.state_machine.decision_check import Objection, against_absence, against_adoption


async def check_adoption(ctx: Context, operation: Operation, job_id: str) -> list[Objection]:
    """Return what speaks against assigning a job to an operation; nothing if it fits.

    A log that cannot be read is an objection too, which may be overruled.
    """
    owner = (await ctx.ledger.job_owners(operation.cluster_id, [job_id])).get(job_id)
    began, counted, row = ctx.clock.monotonic_ms(), None, None
    try:
        row = await _look_up(ctx, operation.zone, job_id)
        ended = row is not None and row.status is not JobStatus.PENDING
        # What was made while it still runs may be another's.
        if row is not None and ended and not row.node_ids and row.create_time is not None:
            counted = await count_nodes_made(ctx, operation, row, time_then(ctx.clock, began))
        rules = await _rules(ctx, operation, *(() if row is None else (row,)))
        if row is not None and row.job_action != rules.job_action and not rules.action_seen:
            # Whether another name excludes it is worth one more call.
            rules = replace(rules, action_seen=await shows_our_action(ctx, operation.zone))
    except (EhpcError, Deferred) as error:
        # What was read before is as certain as ever.
        rules = await _rules(ctx, operation, *(() if row is None else (row,)))
        found = against_adoption(operation, row, rules, job_id=job_id, owner=owner)
        return [one for one in found if one.certain] or [_unreadable(operation, error)]
    return against_adoption(operation, row, rules, job_id=job_id, owner=owner, nodes_counted=counted)


async def check_absence(ctx: Context, operation: Operation) -> list[Objection]:
    """Return what speaks against the decision that the provider never executed an operation."""
    began, own_job = ctx.clock.monotonic_ms(), None
    # A rebuilt record does not say how far back its listing reached.
    sent_at = operation.planned_at if operation.sent_at is None else operation.sent_at
    since = operation.shown_since or sent_at - MAX_CLOCK_STEP_MS
    try:
        grant = await reserve(ctx, CallPriority.RECONCILE)
        listing = await list_cluster_jobs(
            ctx, operation.zone, operation.cluster_id, since, CallPriority.RECONCILE, grant
        )
        if operation.job_id is not None:
            own_job = await _look_up(ctx, operation.zone, operation.job_id)
    except (EhpcError, Deferred) as error:
        return [_unreadable(operation, error)]
    rules = await _rules(ctx, operation, *listing.rows)
    known = [row.job_id for row in listing.rows] + [one.job_id for one in operation.candidates]
    owners = await ctx.ledger.job_owners(operation.cluster_id, known)
    others = [job_id for job_id, owner in owners.items() if owner != operation.operation_id]
    skew_s, listed_at = listing.skew_s, time_then(ctx.clock, began)
    return against_absence(
        operation,
        candidates_of(operation, listing.rows, others),
        rules,
        listed_at=listed_at + round(1000 * min(0.0, skew_s or 0.0)),
        flaws=[
            *listing.flaws,
            *hides(vanished(operation, listing.rows, others)),
            *clock_flaws(skew_s, ctx.clock.steady_ms(), None, rules),
        ],
        own_job=own_job,
    )


async def _look_up(ctx: Context, zone: str, job_id: str) -> JobRow | None:
    grant = await reserve(ctx, CallPriority.RECONCILE)
    at = utc_second(ctx.clock.now_ms())
    request = ctx.api.list_jobs(zone, job_ids=job_id, offset=0, newest_first=True, at=at)
    page = await call_with_grant(ctx, grant, grant.calls[0], request)
    return next((row for row in page.rows if row.job_id == job_id), None)


async def _rules(ctx: Context, operation: Operation, *rows: JobRow) -> Rules:
    return await rules_of(ctx, operation.zone, rows)


def _unreadable(operation: Operation, error: Exception) -> Objection:
    return Objection(f"the log of zone {operation.zone} cannot be read: {error}", certain=False)
