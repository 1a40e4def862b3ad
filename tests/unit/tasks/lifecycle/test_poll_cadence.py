"""When a zone is looked at again."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tasks.lifecycle.poll_cadence import Pressure, interval_s


def test_without_pressure_it_is_the_setting() -> None:
    assert interval_s(5.0, 3, Pressure(free=1000, limit=2000, window_s=3600)) == 5.0


def test_with_nothing_free_it_is_a_twentieth_of_the_window() -> None:
    assert interval_s(5.0, 1, Pressure(free=0, limit=2000, window_s=3600)) == 180.0


def test_under_pressure_what_is_free_lasts_a_window() -> None:
    assert interval_s(5.0, 2, Pressure(free=400, limit=2000, window_s=3600)) == 18.0


@given(
    poll=st.floats(0.1, 60),
    pages=st.integers(0, 100),
    free=st.integers(-10, 2000),
    window=st.floats(1, 10_000),
)
def test_it_stays_between_the_setting_and_a_twentieth_of_the_window(
    poll: float, pages: int, free: int, window: float
) -> None:
    interval = interval_s(poll, pages, Pressure(free, 2000, window))

    assert poll <= interval <= max(poll, window / 20)


@given(pages=st.integers(0, 100), free=st.integers(1, 999), window=st.floats(1, 10_000))
def test_under_pressure_the_looks_of_a_window_cost_no_more_than_what_is_free(
    pages: int, free: int, window: float
) -> None:
    interval = interval_s(0.1, pages, Pressure(free, 2000, window))

    # A twentieth of the window is waited at most, whatever that costs: by then other calls are free again.
    affordable = free / max(pages, 1)
    assert window / interval <= max(affordable, 20) * 1.000_001


@given(pages=st.integers(1, 100), free=st.integers(-10, 2000))
def test_the_less_is_free_the_longer_it_is(pages: int, free: int) -> None:
    less, more = (interval_s(5.0, pages, Pressure(left, 2000, 3600)) for left in (free, free + 1))

    assert less >= more


def test_a_quota_without_an_end_of_its_window_is_no_reason_not_to_look() -> None:
    assert interval_s(5.0, 1, Pressure(free=1, limit=2000, window_s=math.inf)) == 5.0
