"""What a schedule has to do at a given time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.policy.model import Schedule
from tasks.schedules.last_handled import through_of
from tasks.schedules.request_ids import request_id, run_id
from tasks.schedules.timetable import LOOK_AGAIN_MS, MOST_COUNTED, Fire, Missed, Rest, next_step


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
        (SEVEN - 1, Rest(SEVEN, SEVEN)),
        (SEVEN, Fire(SEVEN)),
        (SEVEN + 599_999, Fire(SEVEN)),
        (SEVEN + 600_000, Missed(SEVEN, SEVEN, 1)),
    ],
)
def test_a_moment_is_waited_for_fired_and_in_the_end_missed(now: int, expected: object) -> None:
    assert next_step(schedule(), through=SEVEN - 1, now=now, lead_s=0) == expected


def test_what_was_dealt_with_is_not_dealt_with_again_whatever_the_clock_says() -> None:
    tomorrow = SEVEN + 86_400_000
    for now in (SEVEN - 3_600_000, SEVEN, SEVEN + 1):
        assert next_step(schedule(), through=SEVEN, now=now, lead_s=0) == Rest(tomorrow, tomorrow)


def test_a_lead_time_brings_the_asking_forward_but_not_the_moment() -> None:
    fixed = schedule(ready_by=True, lead_time="fixed", lead_time_s=900)
    at = SEVEN - 900_000

    assert next_step(fixed, through=SEVEN - 1, now=at - 1, lead_s=900) == Rest(at, SEVEN)
    assert next_step(fixed, through=SEVEN - 1, now=at, lead_s=900) == Fire(SEVEN)


def test_a_learnt_lead_time_is_looked_at_again_before_its_time() -> None:
    learnt = schedule(ready_by=True, lead_time_s=900)
    now = SEVEN - 7_200_000

    assert next_step(learnt, through=now, now=now, lead_s=900) == Rest(now + LOOK_AGAIN_MS, SEVEN)


def test_a_schedule_that_is_over_rests_for_good() -> None:
    over = schedule(not_after="2026-11-23")

    assert next_step(over, through=SEVEN, now=SEVEN, lead_s=0) == Rest(None, None)


def test_more_missed_moments_than_are_worth_counting_are_left_behind_together() -> None:
    now = SEVEN + 86_400_000 * 365
    step = next_step(schedule(cron="* * * * *"), through=SEVEN, now=now, lead_s=0)

    assert step == Missed(SEVEN + A_MINUTE, now - 600_000, MOST_COUNTED)


@given(
    start=st.integers(SEVEN, SEVEN + 86_400_000),
    pauses=st.lists(st.integers(1, 3_600_000), min_size=1, max_size=40),
    lead_s=st.integers(0, 1200),
)
def test_whenever_it_is_looked_at_each_moment_is_fired_or_missed_exactly_once_and_in_order(
    start: int, pauses: list[int], lead_s: int
) -> None:
    often = schedule(cron="*/7 * * * *", ready_by=True, lead_time="fixed", lead_time_s=lead_s)
    through, now = start, start
    fired: list[int] = []
    missed = 0
    for pause in pauses:
        now += pause
        while not isinstance(step := next_step(often, through=through, now=now, lead_s=lead_s), Rest):
            if isinstance(step, Fire):
                assert now - 600_000 < step.moment <= now + lead_s * 1000
                fired.append(step.moment)
                through = step.moment
            else:
                assert step.last <= now - 600_000
                missed += step.count
                through = step.last
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


def test_the_id_of_a_moment_is_made_of_the_schedule_and_the_moment_in_utc() -> None:
    assert request_id("evening-batch", SEVEN) == "schedule:evening-batch:20261123T190000Z"
    assert run_id("evening-batch", SEVEN + 7) == "schedule:evening-batch:run-20261123T190000.007Z"


@pytest.mark.parametrize(
    "change", [{"cron": "1 19 * * *"}, {"timezone": "Asia/Shanghai"}, {"skip_dates": ["2026-01-01"]}]
)
def test_a_schedule_with_other_moments_begins_now(change: dict[str, Any]) -> None:
    before, after = schedule(), schedule(**change)

    assert through_of(before, SEVEN, after, SEVEN + 5) == SEVEN + 5
    assert through_of(before, SEVEN + 9, after, SEVEN + 5) == SEVEN + 9, "what was dealt with stays so"
    assert through_of(None, 0, after, SEVEN + 5) == SEVEN + 5


def test_a_moment_that_it_had_and_still_has_is_not_swallowed_by_an_edit() -> None:
    before, after = schedule(), schedule(skip_dates=["2026-12-25"])

    through = through_of(before, SEVEN - 1, after, SEVEN + 5)

    assert next_step(after, through=through, now=SEVEN + 5, lead_s=0) == Fire(SEVEN)


def test_a_moment_that_only_the_new_one_has_is_not_made_up_beside_one_that_both_have() -> None:
    day = 86_400_000
    before, after = schedule(cron="0 19 * * *"), schedule(cron="0 18,19 * * *", catch_up_s=3 * 86_400)

    through = through_of(before, SEVEN - day, after, SEVEN + 5)

    assert through == SEVEN - 1


def test_a_schedule_with_the_same_moments_goes_on_where_it_was() -> None:
    assert through_of(schedule(), SEVEN, schedule(node_count=9, catch_up_s=60), SEVEN + 5) == SEVEN
