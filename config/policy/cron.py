"""The occurrences of a cron expression in a time zone, as Debian's cron computes them.

When clocks change, a time in the missing hour occurs at the first minute after it; a time in the repeated
hour occurs the first time only. An expression whose minutes or hours begin with `*` follows elapsed time:
the missing hour has no occurrences, and the repeated one has twice as many.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

FIELDS = 5
# A default start: expressions repeat within 28 years or never.
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_zone(name: str) -> str:
    """Return the time zone. Raises ValueError if it is unknown, with a close match."""
    if name in _zones():
        return name
    meant = get_close_matches(name, _zones(), 1)
    hint = f"did you mean {meant[0]}?" if meant else "use a name such as Europe/Berlin"
    raise ValueError(f"is not a time zone: {hint}")


def check_cron(expression: str) -> str:
    """Return the expression. Raises ValueError unless it has five valid fields and ever occurs."""
    fields = expression.split()
    if len(fields) != FIELDS:
        names = "minute, hour, day of month, month, day of week"
        raise ValueError(f"must have five fields ({names}), such as 0 19 * * 1-5; it has {len(fields)}")
    try:
        next(CronSim(expression, LONG_AGO))
    except (CronSimError, ValueError, StopIteration) as error:
        reason = str(error)
        never = not reason or (reason == "Bad day-of-month" and _never_occurs(expression))
        if not never:
            raise ValueError(f"is not a cron expression: {reason[0].lower()}{reason[1:]}") from None
        raise ValueError("never fires: these months have no such day") from None
    return expression


def _never_occurs(expression: str) -> bool:
    """Return whether it is valid in a month of 31 days: the library calls 30 February a bad day."""
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
    """Yield the occurrences after `after`, in order, as UTC.

    Args:
        not_before, not_after: both included; a date means the whole day.
        skip_dates: dates in `zone`.
    """
    here = ZoneInfo(zone)
    last = None if not_after is None else _end(not_after, here)
    since = after.timestamp()
    if not_before is not None:
        since = max(since, _begin(not_before, here).timestamp() - 1)
    # From a whole second: the library would skip an occurrence within this one.
    ticks = CronSim(expression, datetime.fromtimestamp(since // 1, here))
    for tick in ticks:
        at = tick.timestamp()
        # In a repeated hour the library may step back to the first time.
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
