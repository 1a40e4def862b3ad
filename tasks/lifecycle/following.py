"""One look at a zone's operation log answers for all jobs that run there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog

from tasks.ehpc.errors import EhpcError
from tasks.ehpc.models import JobStatus, OperationRow
from tasks.ledger.changes import Changes, Committed
from tasks.ledger.records import State, Verdict, Zone
from tasks.lifecycle import next_step
from tasks.lifecycle.api_calls import MustWait, account_is_accepted, counted, moment, read_refused, reserve
from tasks.lifecycle.arrivals import CLOCK_MARGIN_MS
from tasks.lifecycle.machinery import Machinery
from tasks.lifecycle.node_census import finish_job
from tasks.lifecycle.poll_cadence import Pressure, interval_s
from tasks.quota.governor import CallClass

log = structlog.get_logger(__name__)

START_MARGIN_MS = 5_000
SINGLE_LOOKUPS = 20
FINISHED_AT_ONCE = 32

Running = dict[str, tuple[str, int]]


@dataclass(slots=True)
class Look:
    """What one look at a zone has shown of its running jobs."""

    seen: dict[str, OperationRow] = field(default_factory=dict)
    pages: int = 0
    complete: bool = False


async def follow_zone(m: Machinery, zone: str) -> None:
    """Look at the zone's log, finish what has ended, and say when to look again."""
    running = await m.ledger.running(zone)
    if not running:
        await m.ledger.rest_zone(zone, m.clock.now_ms())
        return
    started_at = m.clock.now_ms()
    record = await m.ledger.zone(zone)
    look = Look()
    try:
        await _list_running(m, zone, running, look)
        missing = await _look_up_missing(m, zone, running, record, look)
        failures = 0
    except MustWait as wait:
        await _finish_seen(m, running, look)
        await _rest(m, zone, wait.until)
        return
    except EhpcError as error:
        await _finish_seen(m, running, look)
        until = (await read_refused(m, error, record.failures)).until
        log.warning("sweep_failed", zone=zone, kind=error.kind, detail=str(error))
        await _note(m, record.model_copy(update={"failures": record.failures + 1}), record)
        await _rest(m, zone, until)
        return
    await account_is_accepted(m, await m.ledger.account())
    finished = await _finish_seen(m, running, look)
    missing = await _hold_unseen(m, running, missing)
    _warn_of_what_is_odd(m, zone, look)
    ours = any(row.job_action == m.settings.add_nodes_job_action for row in look.seen.values())
    update = {"failures": failures, "missing": missing, "action_seen": record.action_seen or ours}
    await _note(m, record.model_copy(update=update), record)
    usage = await m.governor.usage()
    pressure = Pressure(usage.limit - usage.used, usage.limit, m.settings.quota_period_s)
    next_s = interval_s(m.settings.poll_interval_s, look.pages, pressure)
    await _rest(m, zone, started_at + round(next_s * 1000))
    log.info(
        "sweep_finished",
        zone=zone,
        running=len(running),
        seen=len(look.seen),
        missing=len(missing),
        finished=finished,
        pages=look.pages,
        next_in_s=round(next_s, 3),
    )


def _warn_of_what_is_odd(m: Machinery, zone: str, look: Look) -> None:
    action = m.settings.add_nodes_job_action
    for row in look.seen.values():
        if row.job_action != action:
            name, seen = "unknown_job_action", {"job_action": row.job_action, "expected": action}
            m.warn_once(name, row.job_action, zone=zone, job_id=row.job_id, **seen)
        if not row.status_is_known:
            about = f"{row.job_id} {row.status_text}"
            m.warn_once("unknown_job_status", about, zone=zone, job_id=row.job_id, status=row.status_text)


async def _list_running(m: Machinery, zone: str, running: Running, look: Look) -> None:
    """Newest first, from the oldest running job on, until all are seen or the listing ends."""
    oldest = min(sent_at for _, sent_at in running.values())
    offset, total = 0, 1
    while offset < total and len(look.seen) < len(running):
        grant = await reserve(m, CallClass.FOLLOW)
        call = m.api.list_operations(
            zone,
            start_time=moment(oldest - START_MARGIN_MS),
            offset=offset,
            newest_first=True,
            at=moment(m.clock.now_ms()),
        )
        page = await counted(m, grant, grant.calls[0], call)
        look.pages += 1
        look.seen.update((row.job_id, row) for row in page.rows if row.job_id in running)
        offset, total = offset + len(page.rows), page.total_count
        if not page.rows:
            break
    look.complete = offset >= total


async def _look_up_missing(
    m: Machinery, zone: str, running: Running, record: Zone, look: Look
) -> dict[str, int]:
    """Single look-ups for jobs that the listings have not shown for longer than the log's lag."""
    now = m.clock.now_ms()
    lag_ms = round(m.settings.log_lag_s * 1000)
    missing = {job_id: record.missing.get(job_id, now) for job_id in running if job_id not in look.seen}
    overdue = [job_id for job_id, since in missing.items() if now - since > lag_ms]
    for job_id in overdue[:SINGLE_LOOKUPS]:
        grant = await reserve(m, CallClass.FOLLOW)
        call = m.api.list_operations(
            zone, job_ids=job_id, offset=0, newest_first=True, at=moment(m.clock.now_ms())
        )
        page = await counted(m, grant, grant.calls[0], call)
        look.pages += 1
        for row in page.rows:
            if row.job_id == job_id:
                look.seen[job_id] = row
                del missing[job_id]
                break
    return missing


async def _finish_seen(m: Machinery, running: Running, look: Look) -> int:
    ended = {running[row.job_id][0]: row for row in look.seen.values() if row.status is not JobStatus.PENDING}
    names = list(ended)
    for first in range(0, len(names), FINISHED_AT_ONCE):
        scenes = await m.ledger.scenes(names[first : first + FINISHED_AT_ONCE])
        await asyncio.gather(
            *(finish_job(m, scene, _verdict(m, ended[name])) for name, scene in scenes.items())
        )
    return len(ended)


def _verdict(m: Machinery, row: OperationRow) -> Verdict:
    ours = m.clock.now_ms() + CLOCK_MARGIN_MS
    return Verdict(
        successful=row.status is JobStatus.SUCCESSFUL,
        started_at=None if row.create_time is None else round(row.create_time.timestamp() * 1000),
        ended_at=ours if row.status_time is None else round(row.status_time.timestamp() * 1000),
        error_codes=row.error_codes,
        node_ids=row.node_ids,
    )


async def _hold_unseen(m: Machinery, running: Running, missing: dict[str, int]) -> dict[str, int]:
    """Absence is never failure; but a job unseen for longer than its requests' deadlines is held."""
    now = m.clock.now_ms()
    left = dict(missing)
    for job_id, since in missing.items():
        # No deadline is shorter than what the log may lag.
        if now - since <= m.settings.log_lag_s * 1000:
            continue
        operation_id = running[job_id][0]
        if await _hold_if_overdue(m, operation_id, since):
            del left[job_id]
    return left


async def _hold_if_overdue(m: Machinery, operation_id: str, since: int) -> bool:
    operation = await m.ledger.operation(operation_id)
    if operation is None or operation.state is not State.RUNNING:
        return True
    requests = list((await m.ledger.requests(operation.request_ids)).values())
    longest = max((request.deadline_at - request.accepted_at for request in requests), default=0)
    now = m.clock.now_ms()
    if now - since <= longest:
        return False
    because = f"job {operation.job_id} has been in no listing for {round((now - since) / 1000)} s"
    word = await m.commit(next_step.hold(operation, requests, because=because, now=now))
    return word is Committed.OK


async def _note(m: Machinery, record: Zone, before: Zone) -> None:
    if record != before:
        changes = Changes()
        changes.put(record)
        await m.commit(changes)


async def _rest(m: Machinery, zone: str, until: int) -> None:
    await m.ledger.rest_zone(zone, until)
