"""What was written or read by a clock that was ahead, once it has been set back."""

from typing import Any, cast

import pytest

from config.settings import Settings
from tasks.handlers.context import Context
from tasks.intake.limit_usage import COUNT_VALID_MS, is_current
from tasks.ledger.record_values import NodeCount
from tasks.runtime.clock import HandClock
from tests.support.records import NOW, cluster

A_DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("at", "current"),
    [(NOW, True), (NOW + 1_000, True), (NOW - 2 * COUNT_VALID_MS, False), (NOW + A_DAY_MS, False)],
)
def test_a_count_from_the_future_limits_nothing(at: int, current: bool) -> None:
    count = NodeCount(present=5, at=at, after=None)

    assert is_current(count, cluster(), NOW) is current


def test_a_call_began_no_later_than_now() -> None:
    clock, nothing = HandClock(NOW), cast("Any", None)
    ctx = Context(cast("Settings", nothing), nothing, nothing, nothing, clock)
    began = clock.now_ms()

    clock.advance(-3_600)

    assert ctx.not_after_now(began) == NOW - 3_600_000
    assert ctx.not_after_now(NOW - A_DAY_MS) == NOW - A_DAY_MS
