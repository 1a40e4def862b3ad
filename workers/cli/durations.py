"""Spans of time and moments as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
SPAN = re.compile(r"(?:[0-9]{1,9}[smhd])+|[0-9]{1,9}")
PART = re.compile(r"([0-9]+)([smhd]?)")
LONGEST_S = 366 * 86_400


class NoSpan(ValueError):  # noqa: N818 - says what the text is not
    """The text is no span or moment; its words name it and show how one looks."""


def seconds_of(text: str) -> int:
    """`90`, `90s`, `30m`, `2h`, `1d`, `1h30m` in seconds. Raises NoSpan, also for 0 or over 366 days."""
    if SPAN.fullmatch(text) is None:
        raise NoSpan(f"{text!r} is no span of time: write it as 90s, 30m, 2h, 1d or 1h30m")
    seconds = sum(int(number) * UNITS_S[unit or "s"] for number, unit in PART.findall(text))
    if not 1 <= seconds <= LONGEST_S:
        raise NoSpan(f"{text!r} is not between 1 second and 366 days")
    return seconds


def moment_ms(text: str, now_ms: int) -> int:
    """A span before now, or a moment in ISO 8601 (UTC if it names no zone), in ms. Raises NoSpan."""
    if SPAN.fullmatch(text) is not None:
        return now_ms - seconds_of(text) * 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NoSpan(
            f"{text!r} is neither a span such as 2h nor a moment such as 2026-11-25T19:00:00+08:00"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
