"""Occurrences, compared with an oracle that checks every minute of a year."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.policy.cron import check_cron, check_zone, occurrences

A_MINUTE = timedelta(minutes=1)
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Shanghai")


def year(expression: str, zone: str) -> list[datetime]:
    """Return its occurrences in 2026, each computed from the one before, as a worker does."""
    found: list[datetime] = []
    last = BEGIN - A_MINUTE
    while True:
        last = next(occurrences(expression, zone, last))
        if last >= END:
            return found
        found.append(last)


@lru_cache
def walls(zone: str) -> list[datetime]:
    """What the wall clock shows at each minute of the year."""
    here = ZoneInfo(zone)
    minutes = (BEGIN + A_MINUTE * n for n in range(int((END - BEGIN) / A_MINUTE)))
    return [at.astimezone(here).replace(tzinfo=None) for at in minutes]


def by_the_wall_clock(zone: str, matches: Callable[[datetime], bool]) -> list[datetime]:
    """Each minute of the wall clock that matches, the first time; one that is left out, after the gap."""
    found, latest = [], walls(zone)[0] - A_MINUTE
    for number, wall in enumerate(walls(zone)):
        if wall <= latest:
            continue
        passed = [wall]
        while passed[0] - latest > A_MINUTE:
            passed.insert(0, passed[0] - A_MINUTE)
        if any(matches(minute) for minute in passed):
            found.append(BEGIN + A_MINUTE * number)
        latest = wall
    return found


def by_elapsed_time(zone: str, matches: Callable[[datetime], bool]) -> list[datetime]:
    """Each minute that the wall clock truly shows and that matches."""
    return [BEGIN + A_MINUTE * number for number, wall in enumerate(walls(zone)) if matches(wall)]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("0 19 * * 1-5", lambda at: (at.hour, at.minute) == (19, 0) and at.weekday() < 5),
        ("30 2 * * *", lambda at: (at.hour, at.minute) == (2, 30)),
        ("0,30 1,2,3 * * *", lambda at: at.hour in (1, 2, 3) and at.minute in (0, 30)),
        ("15 0 29-31 * *", lambda at: (at.hour, at.minute) == (0, 15) and at.day >= 29),
    ],
)
def test_a_year_at_fixed_hours_has_each_wall_clock_minute_once(
    zone: str, expression: str, matches: Callable[[datetime], bool]
) -> None:
    assert year(expression, zone) == by_the_wall_clock(zone, matches)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("*/30 2 * * *", lambda at: at.hour == 2 and at.minute % 30 == 0),
        ("0 */2 * * *", lambda at: at.hour % 2 == 0 and at.minute == 0),
        ("20 * * * 0", lambda at: at.minute == 20 and at.weekday() == 6),
    ],
)
def test_a_year_of_repeated_occurrences_follows_elapsed_time(
    zone: str, expression: str, matches: Callable[[datetime], bool]
) -> None:
    assert year(expression, zone) == by_elapsed_time(zone, matches)


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        # The clocks go from 2 to 3: half past two comes at three.
        ("Europe/Berlin", date(2026, 3, 29), ["2026-03-29T01:00"]),
        ("America/New_York", date(2026, 3, 8), ["2026-03-08T07:00"]),
        ("Asia/Shanghai", date(2026, 3, 29), ["2026-03-28T18:30"]),
        # From 3 back to 2, or from 2 back to 1: half past two comes the first time only.
        ("Europe/Berlin", date(2026, 10, 25), ["2026-10-25T00:30"]),
        ("America/New_York", date(2026, 11, 1), ["2026-11-01T07:30"]),
    ],
)
def test_on_the_days_when_the_clocks_change_half_past_two_comes_once(
    zone: str, day: date, expected: list[str]
) -> None:
    found = list(occurrences("30 2 * * *", zone, BEGIN, not_before=day, not_after=day))

    assert [at.strftime("%Y-%m-%dT%H:%M") for at in found] == expected


def test_seven_in_the_evening_stays_so_when_the_clocks_change() -> None:
    found = islice(occurrences("0 19 * * *", "Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC)), 3)

    assert [at.hour for at in found] == [18, 17, 17]


@given(
    zone=st.sampled_from([*ZONES, "Africa/Cairo", "Australia/Lord_Howe", "UTC"]),
    expression=st.sampled_from(
        ["30 2 * * *", "*/7 * * * *", "0 0 * * *", "30 0,1,2 * * 0", "59 23 L * *", "* 1-3 * * *"]
    ),
    after=st.integers(0, 2 * 365 * 86_400_000).map(lambda ms: BEGIN + timedelta(milliseconds=ms)),
)
def test_occurrences_are_the_same_from_any_start(zone: str, expression: str, after: datetime) -> None:
    first, second, third = islice(occurrences(expression, zone, after), 3)

    assert after < first < second < third
    assert next(occurrences(expression, zone, first - timedelta(seconds=1))) == first
    assert list(islice(occurrences(expression, zone, first), 2)) == [second, third]
    between = first + (second - first) / 2
    assert next(occurrences(expression, zone, between)) == second
    assert (first.second, first.microsecond) == (0, 0)


def test_both_ends_are_included_and_a_date_is_the_whole_day() -> None:
    found = occurrences(
        "0 */6 * * *",
        "Asia/Shanghai",
        BEGIN,
        not_before=date(2026, 5, 1),
        not_after=date(2026, 5, 2),
    )
    here = [at.astimezone(ZoneInfo("Asia/Shanghai")).strftime("%d %H:%M") for at in found]
    assert here == [f"0{day} {hour}:00" for day in (1, 2) for hour in ("00", "06", "12", "18")]

    exact = occurrences(
        "0 * * * *",
        "Asia/Shanghai",
        BEGIN,
        not_before=datetime.fromisoformat("2026-05-01T06:00"),
        not_after=datetime(2026, 5, 1, 0, 0, tzinfo=UTC),
    )
    assert [at.isoformat() for at in exact] == [
        "2026-04-30T22:00:00+00:00",
        "2026-04-30T23:00:00+00:00",
        "2026-05-01T00:00:00+00:00",
    ]


def test_dates_that_are_skipped_are_dates_where_the_schedule_is() -> None:
    # 00:30 on the 25th in Shanghai is still the 24th in UTC.
    found = occurrences(
        "30 0 * * *", "Asia/Shanghai", datetime(2026, 12, 23, tzinfo=UTC), skip_dates=[date(2026, 12, 25)]
    )

    assert [at.strftime("%d %H:%M") for at in islice(found, 2)] == ["23 16:30", "25 16:30"]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("* * * *", "it has 4"),
        ("* * * * * *", "it has 6"),
        ("@daily", "it has 1"),
        ("60 0 * * *", "bad minute"),
        ("0 0 32 1 *", "bad day-of-month"),
        ("0 0 0 * *", "bad day-of-month"),
        ("0 0 * * 8", "bad day-of-week"),
        ("0 0 * FOO *", "bad month"),
        ("0 5-3 * * *", "bad hour"),
        ("*/0 * * * *", "bad minute"),
        ("0 0 ² * *", "bad day-of-month"),
    ],
)
def test_an_invalid_or_impossible_expression_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_cron(expression)


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 0 29 2 */7", "0 0 * 2 MON#5", "0 9 LW * *"])
def test_an_expression_that_comes_seldom_is_taken(expression: str) -> None:
    assert check_cron(expression) == expression


def test_an_unknown_time_zone_is_refused_with_what_may_be_meant() -> None:
    with pytest.raises(ValueError, match=r"did you mean Europe/Berlin\?"):
        check_zone("Europe/Berln")
    for name in ("", "../etc/passwd", "Europe", "Nowhere/At/All"):
        with pytest.raises(ValueError, match="is not a time zone"):
            check_zone(name)
