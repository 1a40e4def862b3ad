"""Pure: from when on a schedule that is new, or has changed, has moments."""

from __future__ import annotations

from config.policy import Schedule

TIMING = ("cron", "timezone", "not_before", "not_after", "skip_dates")


def same_moments(one: Schedule, other: Schedule) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in TIMING)


def through_of(before: Schedule | None, through: int, schedule: Schedule, now: int) -> int:
    """The last moment that counts as dealt with, in ms; `before` is None for one that was not there.

    A moment that a schedule did not have when it came was not missed: it is not made up.
    """
    if before is not None and same_moments(before, schedule):
        return through
    return max(through, now)
