"""A process is woken at the times that it has scheduled."""

import asyncio

from tasks.runtime.clock import HandClock
from tasks.runtime.timer import MAX_SCHEDULED, Timer


class Calls:
    def __init__(self) -> None:
        self.fired: list[set[str]] = []
        self.clock = HandClock()
        self.timer: Timer[str] = Timer(self.clock, self.fired.append, ahead_s=600)

    def schedule(self, item: str, in_s: float) -> None:
        self.timer.schedule(item, self.clock.now_ms() + round(in_s * 1000))

    async def after(self, seconds: float) -> list[set[str]]:
        """Advance the clock, and let the event loop's own timers come to their end."""
        self.clock.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0.002)
        return self.fired


async def test_it_fires_once_and_together_for_what_is_due_together() -> None:
    calls = Calls()
    calls.schedule("b", 0.004)
    calls.schedule("a", 0.002)

    assert await calls.after(0.004) == [{"a", "b"}]
    assert await calls.after(60) == [{"a", "b"}]


async def test_an_earlier_time_comes_before_one_that_is_set_already() -> None:
    calls = Calls()
    calls.schedule("late", 500)
    calls.schedule("soon", 0.001)

    assert await calls.after(0.001) == [{"soon"}]


async def test_what_is_far_ahead_or_too_much_is_left_to_the_poll() -> None:
    calls = Calls()
    calls.schedule("far", 601)
    for _ in range(MAX_SCHEDULED):
        calls.schedule("many", 0.001)
    calls.schedule("one more", 0.001)

    assert await calls.after(602) == [{"many"}]


async def test_a_stopped_timer_does_not_fire() -> None:
    calls = Calls()
    calls.schedule("a", 0.001)
    calls.timer.stop()
    calls.schedule("b", 0.001)

    assert await calls.after(1) == []
