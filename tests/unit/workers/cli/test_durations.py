"""Durations and times as people write them."""

import pytest

from workers.cli.durations import InvalidDuration, age_text, parse_duration, parse_since

NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1d", 86_400),
        ("1h30m", 5400),
        ("366d", 31_622_400),
    ],
)
def test_a_duration_is_a_number_with_units(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "0", "0s", "-5m", "2 h", "2x", "h", "1.5h", "367d", "9999999999s", "٣h"]
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration, match=r"is not a duration|is not between"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2h", NOW - 7_200_000),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-15T06:13:20+08:00", NOW),
        ("2023-11-14T22:13:20", NOW),
    ],
)
def test_a_time_is_a_duration_ago_or_iso_8601(text: str, ms: int) -> None:
    assert parse_since(text, NOW) == ms


@pytest.mark.parametrize("text", ["yesterday", "2023-13-01", ""])
def test_what_is_not_a_time_is_named(text: str) -> None:
    with pytest.raises(InvalidDuration):
        parse_since(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0.4, "0s"), (45, "45s"), (200, "3m20s"), (180, "3m"), (18_600, "5h10m"), (187_200, "2d4h")],
)
def test_an_age_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
