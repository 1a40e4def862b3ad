"""PURE: the ids of a schedule's requests. An occurrence has one id, so it cannot be requested twice."""

from config.timestamps import utc_second
from tasks.contract.request import SCHEDULE_IDS


def request_id(name: str, occurrence: int) -> str:
    """Return the id of the request of one occurrence, which is a whole second (ms since 1970)."""
    return f"{SCHEDULE_IDS}{name}:{utc_second(occurrence):%Y%m%dT%H%M%SZ}"


def trigger_id(name: str, now_ms: int) -> str:
    """Return the id of a request that an operator triggers beside the occurrences."""
    return f"{SCHEDULE_IDS}{name}:run-{utc_second(now_ms):%Y%m%dT%H%M%S}.{now_ms % 1000:03d}Z"
