"""A schedule is due: make the request of its occurrence, report what was missed, or wait."""

from config.timestamps import timestamp
from tasks.ehpc.errors import EhpcError
from tasks.handlers.context import SKEW_RETRY_MS, Context
from tasks.handlers.provider_calls import Deferred, defer_after_error
from tasks.intake.accept import Intake
from tasks.ledger.change_set import ChangeSet, CommitResult, DueRule
from tasks.ledger.due import Due, DueKind
from tasks.ledger.events import Event, Level
from tasks.ledger.schedules import LastRun, ScheduleRecord
from tasks.schedules.build_request import ScheduledRequest, build_request, lead_time_of
from tasks.schedules.node_count import UNCLEAR, NodeListing, list_nodes_of
from tasks.schedules.request_ids import request_id
from tasks.schedules.timetable import Fire, Idle, Missed, next_step

MAX_STEPS = 64
MAX_LISTINGS = 3
LISTING_RETRY_MS = 2_000
OTHER_FILE_RETRY_MS = 5_000
DATA_LOST_RETRY_MS = 10_000


async def fire_schedule(ctx: Context, name: str) -> None:
    """Handle the due entry of a schedule.

    Each step moves the schedule's record by compare-and-set, together with all that the step does: of two
    workers one meets a conflict, and a worker that dies between two steps has done exactly one of them.
    """
    due = Due(DueKind.SCHEDULE, name)
    for _ in range(MAX_STEPS):
        record = await ctx.ledger.schedule(name)
        if record is None or record.gone:
            if await _wait_until(ctx, record, due, None):
                return
            continue
        if ctx.policy().schedule(name) is None:
            # Another worker has written it, from a file that this one does not have.
            if await _wait_until(ctx, record, due, ctx.clock.now_ms() + OTHER_FILE_RETRY_MS):
                return
            continue
        lead_s = await lead_time_of(ctx.ledger, record.schedule)
        now = ctx.clock.now_ms()
        step = next_step(record.schedule, last_handled=record.last_handled, now=now, lead_s=lead_s)
        if isinstance(step, Missed) and not ctx.may_end_by_time:
            step = Idle(now + SKEW_RETRY_MS, None)
        match step:
            case Idle():
                if await _wait_until(ctx, record, due, step.until):
                    return
            case Missed():
                await ctx.ledger.commit(_missed(record, step, ctx.clock.now_ms()))
            case Fire() if await _fire(ctx, record, step.occurrence, lead_s, due):
                return
    changes = ChangeSet()
    changes.schedule(due, ctx.clock.now_ms(), DueRule.NO_LATER)
    await ctx.ledger.commit(changes)


async def _wait_until(ctx: Context, record: ScheduleRecord | None, due: Due, until: int | None) -> bool:
    """Return whether the schedule waits until then; otherwise its record has moved on."""
    changes = ChangeSet(expected=[] if record is None else [record])
    changes.schedule(due, until)
    return await ctx.ledger.commit(changes) is CommitResult.OK


async def _fire(ctx: Context, record: ScheduleRecord, occurrence: int, lead_s: int, due: Due) -> bool:
    """Make the request of `occurrence`. Returns whether the schedule has to wait now."""
    intake = Intake(
        ctx.ledger,
        coalesce_s=ctx.settings.coalesce_window_s,
        deadline_s=ctx.settings.request_deadline_s,
        policy=ctx.policy,
    )
    name, scheduled = request_id(record.name, occurrence), None
    for _ in range(MAX_LISTINGS):
        try:
            listing = await _listing(ctx, record)
        except Deferred as deferred:
            return await _delay(ctx, record, due, deferred)
        scheduled = await build_request(ctx.ledger, intake, record.schedule, name, listing)
        if scheduled is not None:
            break
    if scheduled is None:
        return await _wait_until(ctx, record, due, ctx.clock.now_ms() + LISTING_RETRY_MS)
    result = await ctx.ledger.commit(_fired(record, scheduled, occurrence, lead_s, ctx.clock.now_ms()))
    if result in (CommitResult.DATA_LOST, CommitResult.SERVER_CHANGED):
        return await _wait_until(ctx, record, due, ctx.clock.now_ms() + DATA_LOST_RETRY_MS)
    return False


async def _listing(ctx: Context, record: ScheduleRecord) -> NodeListing | None:
    schedule = record.schedule
    if schedule.mode != "ensure":
        return None
    try:
        return await list_nodes_of(ctx, schedule.zone, schedule.cluster_id)
    except EhpcError as error:
        raise await defer_after_error(ctx, error, record.attempts) from error


async def _delay(ctx: Context, record: ScheduleRecord, due: Due, deferred: Deferred) -> bool:
    changes = ChangeSet()
    changes.schedule(due, deferred.until)
    changes.write(record.model_copy(update={"attempts": record.attempts + 1, "wait_reason": deferred.reason}))
    fields = {"schedule": record.name, "message": deferred.reason.message}
    # What cannot be counted needs an operator; everything else passes.
    level: Level = "error" if deferred.reason.kind == UNCLEAR else "warning"
    changes.record(Event("schedule_delayed", level, fields=fields))
    return await ctx.ledger.commit(changes) is CommitResult.OK


def _fired(
    record: ScheduleRecord, scheduled: ScheduledRequest, occurrence: int, lead_s: int, now: int
) -> ChangeSet:
    """Return the step that makes the request, or records that there are enough nodes."""
    changes, count = scheduled.changes, scheduled.count
    last = LastRun(
        result="requested" if scheduled.request_id else "enough",
        occurrence=occurrence,
        at=now,
        request_id=scheduled.request_id,
        node_count=scheduled.node_count,
        present=None if count is None else count.present,
        on_its_way=None if count is None else count.on_its_way,
    )
    changes.write(_handled(record, last))
    fields = {
        "schedule": record.name,
        "occurrence": timestamp(occurrence),
        "mode": record.schedule.mode,
        "cluster_id": record.schedule.cluster_id,
        "lead_time_s": lead_s,
        "late_s": max(0, now - occurrence) / 1000,
        **last.model_dump(include={"node_count", "present", "on_its_way"}),
    }
    requests = () if scheduled.request_id is None else (scheduled.request_id,)
    changes.record(Event("schedule_fired", requests=requests, fields=fields))
    return changes


def _missed(record: ScheduleRecord, step: Missed, now: int) -> ChangeSet:
    """Return the step that reports occurrences which are too old to be caught up."""
    changes = ChangeSet()
    last = LastRun(result="missed", occurrence=step.last, at=now, missed=step.count)
    changes.write(_handled(record, last))
    fields = {
        "schedule": record.name,
        "first_occurrence": timestamp(step.first),
        "occurrence": timestamp(step.last),
        "occurrences": step.count,
        "catch_up_s": record.schedule.catch_up_s,
        "message": None if record.wait_reason is None else record.wait_reason.message,
    }
    changes.record(Event("schedule_missed", "error", fields=fields))
    return changes


def _handled(record: ScheduleRecord, last: LastRun) -> ScheduleRecord:
    update = {"last_handled": last.occurrence, "last": last, "attempts": 0, "wait_reason": None}
    return record.model_copy(update=update)
