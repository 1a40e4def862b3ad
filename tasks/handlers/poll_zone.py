"""Polls a zone: one listing of its operation log covers all jobs that run there."""

import asyncio
from collections.abc import Sequence

import structlog

from tasks.ehpc.errors import EhpcError
from tasks.ehpc.job_status import JobStatus
from tasks.ehpc.models import JobRow
from tasks.handlers.context import Context
from tasks.handlers.count_nodes import finish_job
from tasks.handlers.job_listing import Poll, Running, list_running, look_up_missing
from tasks.handlers.provider_calls import Deferred, defer_after_error, quota_retry_at, restore_account
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.record_values import JobResult, State
from tasks.ledger.records import Zone
from tasks.ledger.snapshots import OperationSnapshot
from tasks.quota.poll_interval import interval_s
from tasks.runtime import tracing
from tasks.runtime.clock import time_then
from tasks.state_machine.node_arrivals import CLOCK_MARGIN_MS
from tasks.state_machine.reconciliation import hold

log = structlog.get_logger(__name__)

FINISH_BATCH = 32
MIN_INTERVAL_FACTOR = 3
MAX_TRACED = 100
MAX_POLL_BACKOFF_S = 60.0  # all jobs of a zone wait for one poll, and it is a single call that fails


async def poll_zone(ctx: Context, zone: str) -> None:
    """List the zone's running jobs, finish those that have ended, and schedule the next poll."""
    running = await ctx.ledger.running(zone)
    began = ctx.clock.monotonic_ms()
    if not running:
        await _schedule(ctx, zone, ctx.clock.now_ms())
        return
    record = await ctx.ledger.zone(zone)
    unseen = running.keys() & set(record.unseen)
    poll = Poll(
        ctx.settings.add_nodes_job_action,
        rows=record.rows,
        page_rows=record.page_rows,
        after_failure=record.failures > 0,
        start_offset=record.resume_offset if unseen else 0,
        seen=running.keys() - unseen if unseen else set(),
    )
    try:
        await list_running(ctx, zone, running, poll, record.pages)
        missing = await look_up_missing(ctx, zone, running, record, poll)
    except Deferred as deferred:
        await _finish_seen(ctx, running, poll)
        await _record(
            ctx,
            record,
            pages=max(record.pages, poll.needed),
            rows=poll.rows,
            page_rows=poll.page_rows,
            resume_offset=poll.next_offset,
            unseen=tuple(running.keys() - poll.seen) if poll.next_offset else (),
        )
        await _schedule(ctx, zone, quota_retry_at(ctx, deferred))
        return
    except EhpcError as error:
        await _finish_seen(ctx, running, poll)
        until = (await defer_after_error(ctx, error, record.failures, max_s=MAX_POLL_BACKOFF_S)).until
        log.warning("poll_failed", zone=zone, kind=error.kind, detail=str(error))
        # From the first row on next time: what was refused may be the place where it was to resume.
        await _record(ctx, record, failures=record.failures + 1, resume_offset=0, unseen=())
        # It takes one call, and no more of them than a poll that succeeds would get.
        next_s = await _interval_s(ctx, zone, 1)
        await _schedule(ctx, zone, max(until, time_then(ctx.clock, began) + round(1000 * next_s)))
        return
    await restore_account(ctx, await ctx.ledger.account())
    finished = await _finish_seen(ctx, running, poll)
    missing = await _hold_missing(ctx, running, missing)
    await _hold_unclear(ctx, running, poll)
    await _report_odd_rows(ctx, zone, poll)
    await _record(
        ctx,
        record,
        failures=0,
        missing=missing,
        action_seen=record.action_seen or poll.shows_our_action,
        pages=poll.pages_of_all,
        resume_offset=0,
        unseen=(),
        rows=poll.rows,
        page_rows=poll.page_rows,
    )
    next_s = await _interval_s(ctx, zone, poll.calls)
    # However short the interval is, most of the time is left for other work.
    started_at, took_ms = time_then(ctx.clock, began), ctx.clock.monotonic_ms() - began
    await _schedule(ctx, zone, started_at + max(round(next_s * 1000), MIN_INTERVAL_FACTOR * took_ms))
    if tracing.is_on():
        await _trace_poll(ctx, zone, started_at, [operation_id for operation_id, _ in running.values()])
    shown = (len(running), len(missing), finished)
    changed = ctx.polls_logged.note(zone, shown, ctx.clock.now_ms())
    (log.info if changed else log.debug)(
        "poll_finished",
        zone=zone,
        running=len(running),
        seen=len(poll.seen),
        missing=len(missing),
        finished=finished,
        pages=poll.pages,
        next_in_s=round(next_s, 3),
    )


async def _trace_poll(ctx: Context, zone: str, began: int, operation_ids: Sequence[str]) -> None:
    operations = await ctx.ledger.operations(operation_ids[:MAX_TRACED], readable_only=True)
    first = [one.request_ids[0] for one in operations.values() if one.request_ids]
    links = [one.traceparent for one in (await ctx.ledger.requests(first, readable_only=True)).values()]
    tracing.record(
        "scaleout poll", began, ctx.clock.now_ms(), links=links, zone=zone, jobs=len(operation_ids)
    )


async def _interval_s(ctx: Context, zone: str, calls: int) -> float:
    """Return the time from one poll of the zone to the next, in seconds, if one takes `calls` calls."""
    return interval_s(
        ctx.settings.poll_interval_s,
        await ctx.rate_limiter.polling_budget(zone, calls),
        submissions_wait=await ctx.ledger.submissions_waited_recently(),
    )


async def _report_odd_rows(ctx: Context, zone: str, poll: Poll) -> None:
    if poll.unreadable:
        await ctx.report_once("rows_unreadable", zone, zone=zone, rows=poll.unreadable)
    for row in poll.odd:
        about = {"zone": zone, "job_id": row.job_id}
        if row.job_action != poll.job_action:
            seen = {"job_action": row.job_action, "expected": poll.job_action}
            await ctx.report_once("unknown_job_action", row.job_action, **about, **seen)
        if not row.status_is_known:
            await ctx.report_once("unknown_job_status", row.status_text, **about, status=row.status_text)


async def _hold_unclear(ctx: Context, running: Running, poll: Poll) -> None:
    """Hold overdue operations whose job has an unknown status: it may have ended, and is polled for ever."""
    unclear = {running[row.job_id][0]: row for row in poll.unclear}
    names = list(unclear)
    for first in range(0, len(names), FINISH_BATCH):
        snapshots = await ctx.ledger.operation_snapshots(names[first : first + FINISH_BATCH])
        for name, snapshot in snapshots.items():
            operation, now = snapshot.operation, ctx.clock.now_ms()
            if operation.state is not State.RUNNING or ctx.clocks_disagree or not snapshot.is_overdue(now):
                continue
            if operation.insisted:
                await finish_job(ctx, snapshot, _result(ctx, unclear[name]))
                continue
            status = unclear[name].status_text
            reason = f"job {operation.job_id} stays in the status {status!r}, which is unknown"
            await ctx.ledger.commit(hold(operation, snapshot.served, reason=reason, now=now))


async def _finish_seen(ctx: Context, running: Running, poll: Poll) -> int:
    ended = {running[row.job_id][0]: row for row in poll.ended}
    names = list(ended)
    for first in range(0, len(names), FINISH_BATCH):
        snapshots = await ctx.ledger.operation_snapshots(names[first : first + FINISH_BATCH])
        results = {name: _result(ctx, ended[name]) for name in snapshots}
        await asyncio.gather(*(finish_job(ctx, one, results[name]) for name, one in snapshots.items()))
    return len(ended)


def _result(ctx: Context, row: JobRow) -> JobResult:
    latest = ctx.clock.now_ms() + CLOCK_MARGIN_MS
    return JobResult(
        successful=row.status is JobStatus.SUCCESSFUL,
        started_at=None if row.create_time is None else round(row.create_time.timestamp() * 1000),
        ended_at=latest if row.status_time is None else round(row.status_time.timestamp() * 1000),
        error_codes=row.error_codes,
        node_ids=row.node_ids,
    )


async def _hold_missing(ctx: Context, running: Running, missing: dict[str, int]) -> dict[str, int]:
    """Hold operations whose job is missing for longer than its requests' deadlines: absence is no failure.

    Returns the jobs that are still missing.
    """
    # No deadline is shorter than what the log may lag.
    shown_after = ctx.clock.now_ms() - ctx.settings.log_lag_s * 1000
    overdue = {running[job_id][0]: job_id for job_id, since in missing.items() if since < shown_after}
    left, names = dict(missing), list(overdue)
    for first in range(0, len(names), FINISH_BATCH):
        batch = names[first : first + FINISH_BATCH]
        snapshots = await ctx.ledger.operation_snapshots(batch)
        for name in batch:
            if await _hold_if_overdue(ctx, snapshots.get(name), missing[overdue[name]]):
                del left[overdue[name]]
    return left


async def _hold_if_overdue(ctx: Context, snapshot: OperationSnapshot | None, since: int) -> bool:
    if snapshot is None or snapshot.operation.state is not State.RUNNING:
        return True
    longest = max((request.deadline_at - request.accepted_at for request in snapshot.served), default=0)
    now = ctx.clock.now_ms()
    if now - since <= longest or not snapshot.is_overdue(now) or ctx.clocks_disagree:
        return False
    missing_s = round((now - since) / 1000)
    reason = f"job {snapshot.operation.job_id} has been missing from the operation log for {missing_s} s"
    changes = hold(snapshot.operation, snapshot.served, reason=reason, now=now)
    return await ctx.ledger.commit(changes) is CommitResult.OK


async def _record(ctx: Context, before: Zone, **update: object) -> None:
    record = before.model_copy(update=update)
    if record != before:
        changes = ChangeSet()
        changes.write(record)
        await ctx.ledger.commit(changes)


async def _schedule(ctx: Context, zone: str, at: int) -> None:
    if await ctx.ledger.schedule_poll(zone, at):
        # Its pages must not slow down the polls of other zones.
        await ctx.rate_limiter.polling_budget(zone, 0)
