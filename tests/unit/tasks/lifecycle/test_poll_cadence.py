"""When a zone is looked at again."""

from __future__ import annotations

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
