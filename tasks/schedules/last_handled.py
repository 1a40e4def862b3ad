"""Pure: from when on a schedule that is new, or has changed, has moments."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

from config.policy.model import Schedule

MOST_COMPARED = 1_000
TIMING = ("cron", "timezone", "not_before", "not_after", "skip_dates")


def same_moments(one: Schedule, other: Schedule) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in TIMING)


def through_of(before: Schedule | None, through: int, schedule: Schedule, now: int) -> int:
    """The last moment that counts as dealt with, in ms; `before` is None for one that was not there.

    A moment that a schedule did not have when it came was not missed: it is not made up. One that it had
    before and has now is, as if nothing had been changed.
    """
    if before is None:
        return max(through, now)
    if same_moments(before, schedule):
        return through
    had = set(_moments(before, through, now))
    kept = now
    for moment in reversed(_moments(schedule, through, now)):
        if moment not in had:
            break
        kept = moment - 1
    return max(through, kept)


def _moments(schedule: Schedule, after: int, until: int) -> list[int]:
    """Those after `after` and not after `until`, ms; the last ones if there are very many."""
    found: deque[int] = deque(maxlen=MOST_COMPARED)
    for at in schedule.moments(datetime.fromtimestamp(after / 1000, UTC)):
        moment = int(at.timestamp()) * 1000
        if moment > until:
            break
        found.append(moment)
    return list(found)
