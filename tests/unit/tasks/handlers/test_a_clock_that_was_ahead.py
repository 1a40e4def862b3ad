"""What was written or read by a clock that was ahead, once it has been set back."""

import pytest

from tasks.intake.limit_usage import COUNT_VALID_MS, is_current
from tasks.ledger.record_values import NodeCount
from tasks.runtime.clock import ServerClock, time_then
from tests.support.records import NOW, cluster

A_DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("at", "current"),
    [(NOW, True), (NOW + 1_000, True), (NOW - 2 * COUNT_VALID_MS, False), (NOW + A_DAY_MS, False)],
)
def test_a_count_from_the_future_limits_nothing(at: int, current: bool) -> None:
    count = NodeCount(present=5, at=at, after=None)

    assert is_current(count, cluster(), NOW) is current


@pytest.mark.parametrize("step_ms", [-A_DAY_MS, A_DAY_MS])
def test_a_time_before_a_call_is_told_by_the_clock_after_it(step_ms: int) -> None:
    monotonic_ms = 1_000.0
    clock = ServerClock(lambda: monotonic_ms)
    clock.observe(NOW)
    began = clock.monotonic_ms()

    monotonic_ms += 30_000
    clock.observe(NOW + 30_000 + step_ms)
    clock.follow_step()

    assert time_then(clock, began) == NOW + step_ms
