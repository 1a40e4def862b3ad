"""A schedule is due: fire its moment, note what was missed, or find out when to look again."""

from __future__ import annotations

from config.timestamps import timestamp
from tasks.ehpc.errors import EhpcError
from tasks.handlers.context import Machinery
from tasks.handlers.provider_calls import MustWait, read_refused
from tasks.intake.accept import Intake
from tasks.ledger.change_set import Changes, Committed, Event
from tasks.ledger.due import Due, DueKind
from tasks.ledger.schedules import Done, ScheduleRecord
from tasks.schedules.build_request import Asking, ask, lead_time_of
from tasks.schedules.node_count import Listing, list_nodes_of
from tasks.schedules.request_ids import request_id
from tasks.schedules.timetable import Fire, Missed, Rest, next_step

MOST_STEPS = 64
MOST_LISTINGS = 3
LISTED_AGAIN_MS = 2_000
LEFT_TO_OTHERS_MS = 5_000
LOST_AGAIN_MS = 10_000


async def fire_schedule(m: Machinery, name: str) -> None:
    """Each step moves the schedule's record on by compare-and-set, together with all that the step does.

    So of two workers one finds the record moved on, and who dies between two steps has done one of them.
    """
    due = Due(DueKind.SCHEDULE, name)
    for _ in range(MOST_STEPS):
        record = await m.ledger.schedule(name)
        if record is None or record.gone:
            if await _rest(m, record, due, None):
                return
            continue
        if m.policy().schedule(name) is None:
            # Another worker has put it here, by a file that this one does not have.
            if await _rest(m, record, due, m.clock.now_ms() + LEFT_TO_OTHERS_MS):
                return
            continue
        lead_s = await lead_time_of(m.ledger, record.schedule)
        step = next_step(record.schedule, through=record.through, now=m.clock.now_ms(), lead_s=lead_s)
        match step:
            case Rest():
                if await _rest(m, record, due, step.until):
                    return
            case Missed():
                await m.commit(_missed(record, step, m.clock.now_ms()))
            case Fire() if await _fire(m, record, step.moment, lead_s, due):
                return
    # So much at once is the work of more than one turn.
    await m.commit(Changes(sooner={due: m.clock.now_ms()}))


async def _rest(m: Machinery, record: ScheduleRecord | None, due: Due, until: int | None) -> bool:
    """Whether that was it; otherwise the record has moved on."""
    changes = Changes(checks=[] if record is None else [record], due={due: until})
    return await m.commit(changes) is Committed.OK


async def _fire(m: Machinery, record: ScheduleRecord, moment: int, lead_s: int, due: Due) -> bool:
    """Ask for what `moment` needs; whether the schedule has to be left alone now, for it must wait."""
    intake = Intake(
        m.ledger,
        coalesce_s=m.settings.coalesce_window_s,
        deadline_s=m.settings.request_deadline_s,
        policy=m.policy,
    )
    asking = None
    for _ in range(MOST_LISTINGS):
        try:
            listing = await _listing(m, record)
        except MustWait as wait:
            return await _wait(m, record, due, wait)
        asking = await ask(m.ledger, intake, record.schedule, request_id(record.name, moment), listing)
        if asking is not None:
            break
    if asking is None:
        return await _rest(m, record, due, m.clock.now_ms() + LISTED_AGAIN_MS)
    word = await m.commit(_fired(record, asking, moment, lead_s, m.clock.now_ms()))
    if word is Committed.LOST:
        return await _rest(m, record, due, m.clock.now_ms() + LOST_AGAIN_MS)
    return False


async def _listing(m: Machinery, record: ScheduleRecord) -> Listing | None:
    schedule = record.schedule
    if schedule.mode != "ensure":
        return None
    try:
        return await list_nodes_of(m, schedule.zone, schedule.cluster_id)
    except EhpcError as error:
        raise await read_refused(m, error, record.tries) from error


async def _wait(m: Machinery, record: ScheduleRecord, due: Due, wait: MustWait) -> bool:
    changes = Changes(due={due: wait.until})
    changes.put(record.model_copy(update={"tries": record.tries + 1, "waits_for": wait.refusal}))
    changes.tell(
        Event("schedule_waits", "warning", fields={"schedule": record.name, "message": wait.refusal.message})
    )
    return await m.commit(changes) is Committed.OK


def _fired(record: ScheduleRecord, asking: Asking, moment: int, lead_s: int, now: int) -> Changes:
    """Pure: the step that asks, or finds that there is enough."""
    changes, count = asking.changes, asking.count
    done = Done(
        what="asked" if asking.request_id else "enough",
        moment=moment,
        at=now,
        request_id=asking.request_id,
        node_count=asking.node_count,
        present=None if count is None else count.present,
        on_its_way=None if count is None else count.on_its_way,
    )
    changes.put(record.model_copy(update={"through": moment, "last": done, "tries": 0, "waits_for": None}))
    about = done.model_dump(exclude={"at", "moment", "missed", "what", "request_id"})
    fields = {
        "schedule": record.name,
        "moment": timestamp(moment),
        "mode": record.schedule.mode,
        "cluster_id": record.schedule.cluster_id,
        "lead_time_s": lead_s,
        "late_s": max(0, now - moment) / 1000,
        **about,
    }
    asked = () if asking.request_id is None else (asking.request_id,)
    changes.tell(Event("schedule_fired", requests=asked, fields=fields))
    return changes


def _missed(record: ScheduleRecord, step: Missed, now: int) -> Changes:
    """Pure: what is too old to be made up is dealt with by being told."""
    done = Done(what="missed", moment=step.last, at=now, missed=step.count)
    changes = Changes()
    changes.put(record.model_copy(update={"through": step.last, "last": done, "tries": 0, "waits_for": None}))
    fields = {
        "schedule": record.name,
        "first_moment": timestamp(step.first),
        "moment": timestamp(step.last),
        "moments": step.count,
        "catch_up_s": record.schedule.catch_up_s,
        "message": None if record.waits_for is None else record.waits_for.message,
    }
    changes.tell(Event("schedule_missed", "error", fields=fields))
    return changes
