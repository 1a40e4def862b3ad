"""Pure: the ids of a schedule's requests. A moment has one id, so nobody can ask for it twice."""

from __future__ import annotations

from datetime import UTC, datetime

PREFIX = "schedule:"


def request_id(name: str, moment_ms: int) -> str:
    """Of the request for one moment; a moment is a whole second, ms since 1970."""
    return f"{PREFIX}{name}:{_utc(moment_ms):%Y%m%dT%H%M%SZ}"


def run_id(name: str, now_ms: int) -> str:
    """Of a request that a person makes by hand, beside the moments."""
    return f"{PREFIX}{name}:run-{_utc(now_ms):%Y%m%dT%H%M%S}.{now_ms % 1000:03d}Z"


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)
