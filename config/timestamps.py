"""Times as text and as datetimes, the same in logs, outcomes and histories."""

from datetime import UTC, datetime
from functools import lru_cache


def timestamp(ms: int) -> str:
    """Return `ms` since 1970 as UTC ISO 8601 with milliseconds."""
    return f"{_to_the_second(ms // 1000)}.{ms % 1000:03d}Z"


def milliseconds(text: str) -> int:
    """Return an ISO 8601 time as ms since 1970; one without its distance from UTC is in UTC.

    Raises:
        ValueError: it is no such time.
    """
    time = datetime.fromisoformat(text)
    return round((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp() * 1000)


def utc_second(ms: int) -> datetime:
    """Return `ms` since 1970 as a UTC time of a whole second, as the provider's API takes it."""
    return datetime.fromtimestamp(ms // 1000, UTC)


@lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
