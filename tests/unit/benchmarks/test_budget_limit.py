"""How soon, on average, a job's end can be known at all."""

import pytest

from benchmarks.budget_lower_bound import Ended, limit_s

HOUR = 3_600.0


def ends(*times: float) -> list[Ended]:
    return [Ended(time, time + 1) for time in times]


def test_with_one_page_it_is_half_the_poll_interval() -> None:
    assert limit_s(ends(100), 100, 5, 2_000, HOUR, []) == 2.5


def test_with_twenty_pages_it_is_half_of_their_time_in_the_quota() -> None:
    assert limit_s(ends(100), 2_000, 5, 2_000, HOUR, []) == pytest.approx(20 * HOUR / 2_000 / 2)


def test_calls_for_other_things_in_the_period_before_leave_less_to_following() -> None:
    others = [1.0] * 500 + [9_000.0] * 500 + [10_001.0] * 300

    assert limit_s(ends(10_000), 2_000, 5, 2_000, HOUR, others) == pytest.approx(20 * HOUR / 1_500 / 2)


def test_pages_become_fewer_as_jobs_end() -> None:
    assert limit_s(ends(100, 200), 1_001, 1, 2_000, HOUR, []) == pytest.approx(
        (11 + 10) / 2 * HOUR / 2_000 / 2
    )


def test_with_no_call_left_nothing_is_known_before_a_period_is_over() -> None:
    assert limit_s(ends(10), 100, 5, 2, HOUR, [9, 9]) == HOUR / 2
