"""Durations and times as people write them."""

import re

from config.timestamps import milliseconds

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
DURATION = re.compile(r"(?:[0-9]{1,9}[smhd])+")
PART = re.compile(r"([0-9]+)([smhd])")
MAX_S = 366 * 86_400
PARTS_SHOWN = 2


class InvalidDuration(ValueError):  # noqa: N818 - says what the text is
    """The text is not a duration or time; the message quotes it and shows the format."""


def parse_duration(text: str) -> int:
    """Return `90s`, `30m`, `2h`, `1d`, `1h30m` in seconds.

    Raises:
        InvalidDuration: the text is something else, 0 or more than 366 days.
    """
    if DURATION.fullmatch(text) is None:
        unit = " without a unit" if text.isdecimal() else ""
        raise InvalidDuration(f"{text!r}{unit} is not a duration: write it as 90s, 30m, 2h, 1d or 1h30m")
    seconds = sum(int(number) * UNITS_S[unit] for number, unit in PART.findall(text))
    if not 1 <= seconds <= MAX_S:
        raise InvalidDuration(f"{text!r} is not between 1 second and 366 days")
    return seconds


def parse_since(text: str, now_ms: int) -> int:
    """Return the time of a duration before now, or of an ISO 8601 time (UTC without an offset), in ms.

    Raises:
        InvalidDuration: the text is neither.
    """
    if DURATION.fullmatch(text) is not None:
        return now_ms - parse_duration(text) * 1000
    try:
        return milliseconds(text)
    except ValueError:
        raise InvalidDuration(
            f"{text!r} is neither a duration such as 2h nor a time such as 2026-11-25T19:00:00+08:00"
        ) from None


def age_text(seconds: float) -> str:
    """Return a duration in its two largest units: `45s`, `3m20s`, `5h10m`, `2d4h`."""
    left, parts = max(0, int(seconds)), list[str]()
    for unit, size in sorted(UNITS_S.items(), key=lambda item: -item[1]):
        number, left = divmod(left, size)
        if number or (parts and len(parts) < PARTS_SHOWN):
            parts.append(f"{number}{unit}" if number else "")
        if len(parts) == PARTS_SHOWN:
            break
    return "".join(parts) or "0s"
