"""How often a zone is polled."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.quota.poll_interval import calls_per_window, interval_s
from tasks.quota.priorities import CallPriority, PollingBudget


def polling_budget(*, others: int = 0, pages: int = 1, window_s: float = 3600) -> PollingBudget:
    return PollingBudget(others=others, calls_per_poll=pages, limit=2000, window_s=window_s)


def test_without_pressure_it_is_the_setting() -> None:
    assert interval_s(5.0, polling_budget(pages=2)) == 5.0


def test_under_pressure_looks_are_spread_evenly_over_the_calls_of_a_window() -> None:
    assert interval_s(5.0, polling_budget(pages=20)) == 3600 * 20 / (1840 - 20 - 2)


def test_all_zones_pages_share_the_calls() -> None:
    assert interval_s(1.0, polling_budget(pages=40)) == pytest.approx(3600 * 40 / (1840 - 40 - 2))


def test_it_gives_way_to_submissions_down_to_its_guaranteed_share() -> None:
    assert calls_per_window(polling_budget(others=0)) == 1837
    assert calls_per_window(polling_budget(others=400)) == 1437
    assert calls_per_window(polling_budget(others=1040)) == 800
    assert calls_per_window(polling_budget(others=1700)) == 260


def test_it_gives_way_at_once_while_submissions_wait_for_calls() -> None:
    """Three hundred calls of theirs would else be all that they get for the better part of a window."""
    for others, calls in [(0, 800), (300, 800), (1700, 260)]:
        assert calls_per_window(polling_budget(others=others), submissions_wait=True) == calls


def test_many_zones_share_the_polling_budget_while_submissions_wait() -> None:
    twenty_zones = PollingBudget(others=0, calls_per_poll=20, limit=40, window_s=3600)

    assert interval_s(5.0, twenty_zones, submissions_wait=True) == 3600 * 20 / 16


def test_a_window_that_others_have_used_up_is_checked_at_half_time() -> None:
    assert interval_s(5.0, polling_budget(others=1960)) == 1800
    assert interval_s(5.0, polling_budget(others=1960, pages=20)) == 1800


@given(
    others=st.integers(0, 1960),
    pages=st.integers(1, 500),
    poll=st.floats(0.1, 60),
    window=st.floats(1, 10_000),
)
def test_polls_and_other_calls_stay_within_the_polling_share(
    others: int, pages: int, poll: float, window: float
) -> None:
    interval = interval_s(poll, polling_budget(others=others, pages=pages, window_s=window))

    assert interval >= poll
    granted = CallPriority.POLL.value * 2000 - others
    assert pages * window / interval <= max(2 * pages, granted) * 1.000_001


def test_with_no_work_of_others_a_submission_always_finds_room() -> None:
    assert calls_per_window(polling_budget(others=0)) + 2 < CallPriority.SUBMIT.value * 2000


def test_a_quota_without_an_end_of_its_window_does_not_stop_polls() -> None:
    assert interval_s(5.0, polling_budget(window_s=math.inf)) == 5.0
