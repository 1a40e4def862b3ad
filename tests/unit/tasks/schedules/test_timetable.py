"""Which occurrence of a schedule is handled next."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.policy.model import Schedule
from tasks.schedules.request_ids import request_id, trigger_id
from tasks.schedules.timetable import (
    MAX_COUNTED,
    RECHECK_MS,
    Fire,
    Idle,
    Missed,
    last_handled_after,
    next_step,
)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


SEVEN = ms("2026-11-23T19:00")
A_MINUTE = 60_000


def schedule(**more: Any) -> Schedule:
    given = {
        "name": "s",
        "cron": "0 19 * * *",
        "cluster_id": "ehpc-a",
        "zone": "jn1a",
        "node_count": 2,
        "catch_up_s": 600,
    }
    return Schedule.model_validate({**given, **more})


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (SEVEN - 1, Idle(SEVEN, SEVEN)),
        (SEVEN, Fire(SEVEN)),
        (SEVEN + 599_999, Fire(SEVEN)),
        (SEVEN + 600_000, Missed(SEVEN, SEVEN, 1)),
    ],
)
def test_an_occurrence_is_waited_for_fired_and_in_the_end_missed(now: int, expected: object) -> None:
    assert next_step(schedule(), last_handled=SEVEN - 1, now=now, lead_s=0) == expected


def test_what_was_handled_is_never_handled_again_whatever_the_clock_says() -> None:
    tomorrow = SEVEN + 86_400_000
    for now in (SEVEN - 3_600_000, SEVEN, SEVEN + 1):
        assert next_step(schedule(), last_handled=SEVEN, now=now, lead_s=0) == Idle(tomorrow, tomorrow)


def test_a_lead_time_moves_the_request_but_not_the_occurrence() -> None:
    fixed = schedule(ready_by=True, lead_time="fixed", lead_time_s=900)
    at = SEVEN - 900_000

    assert next_step(fixed, last_handled=SEVEN - 1, now=at - 1, lead_s=900) == Idle(at, SEVEN)
    assert next_step(fixed, last_handled=SEVEN - 1, now=at, lead_s=900) == Fire(SEVEN)


def test_an_adaptive_lead_time_is_computed_again_before_its_time() -> None:
    adaptive = schedule(ready_by=True, lead_time_s=900)
    now = SEVEN - 7_200_000

    assert next_step(adaptive, last_handled=now, now=now, lead_s=900) == Idle(now + RECHECK_MS, SEVEN)


def test_a_schedule_that_is_over_has_no_next_occurrence() -> None:
    over = schedule(not_after="2026-11-23")

    assert next_step(over, last_handled=SEVEN, now=SEVEN, lead_s=0) == Idle(None, None)


def test_a_long_absence_is_reported_as_one_run_of_missed_occurrences() -> None:
    now = SEVEN + 86_400_000 * 365
    step = next_step(schedule(cron="* * * * *"), last_handled=SEVEN, now=now, lead_s=0)

    assert step == Missed(SEVEN + A_MINUTE, now - 600_000, MAX_COUNTED)


@given(
    start=st.integers(SEVEN, SEVEN + 86_400_000),
    pauses=st.lists(st.integers(1, 3_600_000), min_size=1, max_size=40),
    lead_s=st.integers(0, 1200),
)
def test_each_occurrence_is_fired_or_missed_exactly_once_and_in_order(
    start: int, pauses: list[int], lead_s: int
) -> None:
    often = schedule(cron="*/7 * * * *", ready_by=True, lead_time="fixed", lead_time_s=lead_s)
    last_handled, now = start, start
    fired: list[int] = []
    missed = 0
    for pause in pauses:
        now += pause
        while not isinstance(
            step := next_step(often, last_handled=last_handled, now=now, lead_s=lead_s), Idle
        ):
            if isinstance(step, Fire):
                assert now - 600_000 < step.occurrence <= now + lead_s * 1000
                fired.append(step.occurrence)
                last_handled = step.occurrence
            else:
                assert step.last <= now - 600_000
                missed += step.count
                last_handled = step.last
        assert step.until is not None
        assert step.until > now
    assert fired == sorted(set(fired))
    expected = [
        at
        for at in range(SEVEN - SEVEN % (7 * A_MINUTE), now + lead_s * 1000 + 1, A_MINUTE)
        if start < at <= now + lead_s * 1000 and (at // A_MINUTE) % 60 % 7 == 0
    ]
    assert len(fired) + missed == len(expected)
    assert set(fired) <= set(expected)


def test_a_request_id_is_the_schedule_and_the_occurrence_in_utc() -> None:
    assert request_id("evening-batch", SEVEN) == "schedule:evening-batch:20261123T190000Z"
    assert trigger_id("evening-batch", SEVEN + 7) == "schedule:evening-batch:run-20261123T190000.007Z"


@pytest.mark.parametrize(
    "change", [{"cron": "1 19 * * *"}, {"timezone": "Asia/Shanghai"}, {"skip_dates": ["2026-01-01"]}]
)
def test_a_schedule_with_other_occurrences_begins_now(change: dict[str, Any]) -> None:
    before, after = schedule(), schedule(**change)

    assert last_handled_after(before, SEVEN, after, SEVEN + 5) == SEVEN + 5
    assert last_handled_after(before, SEVEN + 9, after, SEVEN + 5) == SEVEN + 9, "what was handled stays so"
    assert last_handled_after(None, 0, after, SEVEN + 5) == SEVEN + 5


def test_an_edit_does_not_lose_an_occurrence_that_stays() -> None:
    before, after = schedule(), schedule(skip_dates=["2026-12-25"])

    last_handled = last_handled_after(before, SEVEN - 1, after, SEVEN + 5)

    assert next_step(after, last_handled=last_handled, now=SEVEN + 5, lead_s=0) == Fire(SEVEN)


def test_an_occurrence_that_an_edit_adds_is_not_caught_up() -> None:
    day = 86_400_000
    before, after = schedule(cron="0 19 * * *"), schedule(cron="0 18,19 * * *", catch_up_s=3 * 86_400)

    last_handled = last_handled_after(before, SEVEN - day, after, SEVEN + 5)

    assert last_handled == SEVEN - 1


def test_a_schedule_with_the_same_occurrences_goes_on_where_it_was() -> None:
    assert last_handled_after(schedule(), SEVEN, schedule(node_count=9, catch_up_s=60), SEVEN + 5) == SEVEN
