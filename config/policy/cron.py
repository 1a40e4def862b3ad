"""When a schedule's moments are: cron expressions in a time zone, as Debian's cron reads them.

Across a change of the clocks: what is set for an hour that does not exist comes at the first minute after
it, and what is set for an hour that comes twice comes the first time only. An expression whose minutes or
hours begin with `*` goes by the time that passes: the missing hour is left out, the doubled one counts twice.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

FIELDS = 5
# Somewhere to start from when nothing else is said; expressions repeat themselves within 28 years or never.
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_zone(name: str) -> str:
    """Raises ValueError for a time zone that is not known, with one that may be meant."""
    if name in _zones():
        return name
    meant = get_close_matches(name, _zones(), 1)
    hint = f"did you mean {meant[0]}?" if meant else "give a name such as Europe/Berlin"
    raise ValueError(f"is no time zone: {hint}")


def check_cron(expression: str) -> str:
    """Raises ValueError for what is no cron expression of five fields, or one that never comes."""
    fields = expression.split()
    if len(fields) != FIELDS:
        names = "minute, hour, day of month, month, day of week"
        raise ValueError(f"must have five fields ({names}), such as 0 19 * * 1-5; it has {len(fields)}")
    try:
        next(CronSim(expression, LONG_AGO))
    except (CronSimError, ValueError, StopIteration) as error:
        reason = str(error)
        never = not reason or (reason == "Bad day-of-month" and _is_a_day_that_is_never(expression))
        if not never:
            raise ValueError(f"is no cron expression: {reason[0].lower()}{reason[1:]}") from None
        raise ValueError("never comes: there is no such day in these months") from None
    return expression


def _is_a_day_that_is_never(expression: str) -> bool:
    """The library calls 30 February a bad day-of-month; in a month of 31 days it would be none."""
    minute, hour, day, _, weekday = expression.split()
    try:
        CronSim(f"{minute} {hour} {day} 1 {weekday}", LONG_AGO)
    except (CronSimError, ValueError):
        return False
    return True


def occurrences(
    expression: str,
    zone: str,
    after: datetime,
    *,
    not_before: datetime | date | None = None,
    not_after: datetime | date | None = None,
    skip_dates: Collection[date] = (),
) -> Iterator[datetime]:
    """The moments later than `after`, in order, as UTC; both ends are included, a date is the whole day.

    `skip_dates` are dates in `zone`.
    """
    here = ZoneInfo(zone)
    last = None if not_after is None else _end(not_after, here)
    since = after.timestamp()
    if not_before is not None:
        since = max(since, _begin(not_before, here).timestamp() - 1)
    # From a whole second, or the library would not see what begins within this one.
    ticks = CronSim(expression, datetime.fromtimestamp(since // 1, here))
    for tick in ticks:
        at = tick.timestamp()
        # LimitCheck an hour that comes twice the library may step back to the first time.
        if at <= since:
            continue
        since = at
        occurrence = datetime.fromtimestamp(at, UTC)
        if last is not None and occurrence > last:
            return
        if occurrence.astimezone(here).date() not in skip_dates:
            yield occurrence


def _begin(value: datetime | date, zone: ZoneInfo) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=zone)
    return datetime.combine(value, time(), zone)


def _end(value: datetime | date, zone: ZoneInfo) -> datetime:
    if isinstance(value, datetime):
        return _begin(value, zone)
    return datetime.combine(value + timedelta(days=1), time(), zone) - timedelta(seconds=1)
