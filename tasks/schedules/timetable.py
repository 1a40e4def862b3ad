"""PURE: which occurrence of a schedule is handled next, and how. Times in ms since 1970."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from config.policy.model import Schedule
from tasks.schedules.lead_time import is_adaptive

RECHECK_MS = 300_000
MAX_COUNTED = 1_000
MAX_COMPARED = 1_000
TIMING = ("cron", "timezone", "not_before", "not_after", "skip_dates")


@dataclass(frozen=True, slots=True)
class Fire:
    """Make the request of `occurrence`."""

    occurrence: int


@dataclass(frozen=True, slots=True)
class Missed:
    """`count` occurrences up to `last` are too old to be caught up; with MAX_COUNTED there may be more."""

    first: int
    last: int
    count: int


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to do before `until`; None for a schedule without a further occurrence."""

    until: int | None
    occurrence: int | None


def next_step(schedule: Schedule, *, last_handled: int, now: int, lead_s: int) -> Fire | Missed | Idle:
    """Return what to do now. No occurrence up to `last_handled` is ever handled again."""
    missed = _too_old(schedule, last_handled, now - schedule.catch_up_s * 1000)
    if missed is not None:
        return missed
    first = next(schedule.occurrences(_time(last_handled)), None)
    if first is None:
        return Idle(None, None)
    occurrence = _ms(first)
    at = occurrence - lead_s * 1000
    if at <= now:
        return Fire(occurrence)
    # What a pool needs may grow before the occurrence comes.
    return Idle(min(at, now + RECHECK_MS) if is_adaptive(schedule) else at, occurrence)


def last_handled_after(before: Schedule | None, last_handled: int, schedule: Schedule, now: int) -> int:
    """Return the last occurrence that counts as handled once a policy file has set `schedule`.

    An occurrence that a schedule did not have when it passed was not missed: it is not caught up. One that
    it had before and still has is caught up, as if nothing had changed.

    Args:
        before: the schedule so far; None if there was none.
    """
    if before is None:
        return max(last_handled, now)
    if all(getattr(before, name) == getattr(schedule, name) for name in TIMING):
        return last_handled
    had = set(_occurrences(before, last_handled, now))
    kept = now
    for occurrence in reversed(_occurrences(schedule, last_handled, now)):
        if occurrence not in had:
            break
        kept = occurrence - 1
    return max(last_handled, kept)


def _too_old(schedule: Schedule, last_handled: int, horizon: int) -> Missed | None:
    """Return the occurrences after `last_handled` and not after `horizon`."""
    first = last = None
    count = 0
    for at in schedule.occurrences(_time(last_handled)):
        occurrence = _ms(at)
        if occurrence > horizon:
            break
        first, last, count = first or occurrence, occurrence, count + 1
        if count == MAX_COUNTED:
            # After a long time away they are not worth counting one by one.
            last = horizon
            break
    return None if first is None or last is None else Missed(first, last, count)


def _occurrences(schedule: Schedule, after: int, until: int) -> list[int]:
    """Return those after `after` and not after `until`; the last ones if there are very many."""
    found: deque[int] = deque(maxlen=MAX_COMPARED)
    for at in schedule.occurrences(_time(after)):
        if _ms(at) > until:
            break
        found.append(_ms(at))
    return list(found)


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000
