"""One look at a zone's operation log answers for all jobs that run there."""

from __future__ import annotations

import asyncio

import structlog

from tasks.ehpc.errors import EhpcError
from tasks.ehpc.models import JobStatus, OperationRow
from tasks.handlers.context import Machinery
from tasks.handlers.count_nodes import finish_job
from tasks.handlers.job_listing import Look, Running, list_running, look_up_missing
from tasks.handlers.provider_calls import MustWait, account_is_accepted, ask_again_at, read_refused
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.records import State, Verdict, Zone
from tasks.ledger.snapshots import Scene
from tasks.quota.poll_interval import interval_s
from tasks.state_machine import next_step
from tasks.state_machine.node_arrivals import CLOCK_MARGIN_MS

log = structlog.get_logger(__name__)

FINISHED_AT_ONCE = 32
MOST_OF_THE_TIME = 3
LONGEST_BLIND_S = 60.0  # all jobs of a zone wait for one look, and it is a single call that fails


async def follow_zone(m: Machinery, zone: str) -> None:
    """Look at the zone's log, finish what has ended, and say when to look again."""
    running = await m.ledger.running(zone)
    if not running:
        await _rest(m, zone, m.clock.now_ms())
        return
    started_at = m.clock.now_ms()
    record = await m.ledger.zone(zone)
    unseen = running.keys() & set(record.unseen)
    look = Look(
        m.settings.add_nodes_job_action,
        rows=record.rows,
        page_rows=record.page_rows,
        after_failure=record.failures > 0,
        begins_at=record.broken_off_at if unseen else 0,
        seen=running.keys() - unseen if unseen else set(),
    )
    try:
        await list_running(m, zone, running, look, record.pages)
        missing = await look_up_missing(m, zone, running, record, look)
    except MustWait as wait:
        await _finish_seen(m, running, look)
        learnt: dict[str, object] = {
            "pages": max(record.pages, look.needed),
            "rows": look.rows,
            "page_rows": look.page_rows,
            "broken_off_at": look.reached,
            "unseen": tuple(running.keys() - look.seen) if look.reached else (),
        }
        await _note(m, record.model_copy(update=learnt), record)
        await _rest(m, zone, ask_again_at(m, wait))
        return
    except EhpcError as error:
        await _finish_seen(m, running, look)
        until = (await read_refused(m, error, record.failures, most_s=LONGEST_BLIND_S)).until
        log.warning("sweep_failed", zone=zone, kind=error.kind, detail=str(error))
        # From the first row on next time: what was refused may be the place where it was to go on.
        failed = {"failures": record.failures + 1, "broken_off_at": 0, "unseen": ()}
        await _note(m, record.model_copy(update=failed), record)
        # It takes one call, and no more of them than a look that succeeds would get.
        await _rest(m, zone, max(until, started_at + round(1000 * await _interval_s(m, zone, 1))))
        return
    await account_is_accepted(m, await m.ledger.account())
    finished = await _finish_seen(m, running, look)
    missing = await _hold_unseen(m, running, missing)
    _warn_of_what_is_odd(m, zone, look)
    action_seen = record.action_seen or look.shows_our_action
    learnt = {
        "failures": 0,
        "missing": missing,
        "action_seen": action_seen,
        "pages": look.pages_of_all,
        "broken_off_at": 0,
        "unseen": (),
        "rows": look.rows,
        "page_rows": look.page_rows,
    }
    await _note(m, record.model_copy(update=learnt), record)
    next_s = await _interval_s(m, zone, look.calls)
    # However short the interval is, most of the time is left for other work.
    took_ms = m.clock.now_ms() - started_at
    await _rest(m, zone, started_at + max(round(next_s * 1000), MOST_OF_THE_TIME * took_ms))
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


async def _interval_s(m: Machinery, zone: str, calls: int) -> float:
    """From one look at the zone to the next, if one takes so many calls."""
    return interval_s(
        m.settings.poll_interval_s,
        await m.governor.following(zone, calls),
        submissions_wait=await m.ledger.submissions_have_waited(),
    )


def _warn_of_what_is_odd(m: Machinery, zone: str, look: Look) -> None:
    action = m.settings.add_nodes_job_action
    for row in look.odd:
        if row.job_action != action:
            name, seen = "unknown_job_action", {"job_action": row.job_action, "expected": action}
            m.warn_once(name, row.job_action, zone=zone, job_id=row.job_id, **seen)
        if not row.status_is_known:
            about = f"{row.job_id} {row.status_text}"
            m.warn_once("unknown_job_status", about, zone=zone, job_id=row.job_id, status=row.status_text)


async def _finish_seen(m: Machinery, running: Running, look: Look) -> int:
    ended = {running[row.job_id][0]: row for row in look.ended}
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
    # No deadline is shorter than what the log may lag.
    seen_after = m.clock.now_ms() - m.settings.log_lag_s * 1000
    unseen = {running[job_id][0]: job_id for job_id, since in missing.items() if since < seen_after}
    left, names = dict(missing), list(unseen)
    for first in range(0, len(names), FINISHED_AT_ONCE):
        batch = names[first : first + FINISHED_AT_ONCE]
        scenes = await m.ledger.scenes(batch)
        for name in batch:
            if await _hold_if_overdue(m, scenes.get(name), missing[unseen[name]]):
                del left[unseen[name]]
    return left


async def _hold_if_overdue(m: Machinery, scene: Scene | None, since: int) -> bool:
    if scene is None or scene.operation.state is not State.RUNNING:
        return True
    longest = max((request.deadline_at - request.accepted_at for request in scene.served), default=0)
    now = m.clock.now_ms()
    if now - since <= longest:
        return False
    because = f"job {scene.operation.job_id} has been in no listing for {round((now - since) / 1000)} s"
    word = await m.commit(next_step.hold(scene.operation, scene.served, because=because, now=now))
    return word is Committed.OK


async def _note(m: Machinery, record: Zone, before: Zone) -> None:
    if record != before:
        changes = Changes()
        changes.put(record)
        await m.commit(changes)


async def _rest(m: Machinery, zone: str, until: int) -> None:
    if await m.ledger.rest_zone(zone, until):
        # Its pages are not to slow down the other zones.
        await m.governor.following(zone, 0)
