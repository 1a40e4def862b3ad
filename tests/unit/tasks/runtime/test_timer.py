"""A process is woken at the moments that it knows of."""

from __future__ import annotations

import asyncio

from tasks.runtime.clock import HandClock
from tasks.runtime.timer import MOST_MOMENTS, Alarm


class Rings:
    def __init__(self) -> None:
        self.heard: list[set[str]] = []
        self.clock = HandClock()
        self.alarm: Alarm[str] = Alarm(self.clock, self.heard.append, ahead_s=600)

    def at(self, what: str, in_s: float) -> None:
        self.alarm.at(what, self.clock.now_ms() + round(in_s * 1000))

    async def after(self, seconds: float) -> list[set[str]]:
        """Move the clock on, and let the loop's own timers, which go by it, come to their end."""
        self.clock.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0.002)
        return self.heard


async def test_it_rings_for_what_is_due_once_and_together_for_what_is_due_together() -> None:
    rings = Rings()
    rings.at("b", 0.004)
    rings.at("a", 0.002)

    assert await rings.after(0.004) == [{"a", "b"}]
    assert await rings.after(60) == [{"a", "b"}]


async def test_a_sooner_moment_goes_before_one_that_is_set_already() -> None:
    rings = Rings()
    rings.at("late", 500)
    rings.at("soon", 0.001)

    assert await rings.after(0.001) == [{"soon"}]


async def test_what_is_far_away_and_what_there_is_no_room_for_is_left_to_others() -> None:
    rings = Rings()
    rings.at("far", 601)
    for _ in range(MOST_MOMENTS):
        rings.at("many", 0.001)
    rings.at("one more", 0.001)

    assert await rings.after(602) == [{"many"}]


async def test_a_stopped_alarm_does_not_ring() -> None:
    rings = Rings()
    rings.at("a", 0.001)
    rings.alarm.stop()
    rings.at("b", 0.001)

    assert await rings.after(1) == []
