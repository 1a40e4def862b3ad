"""Pure: what a schedule has to do now. Times in ms since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from config.policy.model import Schedule
from tasks.schedules.lead_time import learns

LOOK_AGAIN_MS = 300_000
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Fire:
    """Ask for the nodes of `moment`."""

    moment: int


@dataclass(frozen=True, slots=True)
class Missed:
    """`count` moments up to `last` are too old to be made up; with MOST_COUNTED there may be more."""

    first: int
    last: int
    count: int


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing now; look again at `until`, None for a schedule that has no further moment."""

    until: int | None
    moment: int | None


def next_step(schedule: Schedule, *, through: int, now: int, lead_s: int) -> Fire | Missed | Rest:
    """`through`: the last moment that was dealt with; nothing up to it is ever dealt with again."""
    catch_up_ms = schedule.catch_up_s * 1000
    missed = _too_old(schedule, through, now - catch_up_ms)
    if missed is not None:
        return missed
    first = next(schedule.moments(_time(through)), None)
    if first is None:
        return Rest(None, None)
    moment = _ms(first)
    at = moment - lead_s * 1000
    if at <= now:
        return Fire(moment)
    # What a pool needs may grow before the moment comes.
    return Rest(min(at, now + LOOK_AGAIN_MS) if learns(schedule) else at, moment)


def _too_old(schedule: Schedule, through: int, horizon: int) -> Missed | None:
    """The moments after `through` and not after `horizon`."""
    first = last = None
    count = 0
    for at in schedule.moments(_time(through)):
        moment = _ms(at)
        if moment > horizon:
            break
        first, last, count = first or moment, moment, count + 1
        if count == MOST_COUNTED:
            # After a long time away they are not worth counting one by one.
            last = horizon
            break
    return None if first is None or last is None else Missed(first, last, count)


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000
