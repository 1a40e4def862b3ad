"""A pause between any two steps: what was not yet being sent is not sent, and goes on when the pause ends."""

import asyncio
from collections.abc import Iterator

import pytest
import redis

from tasks.ledger.pauses import EVERYTHING
from tests.simulation import people
from tests.simulation.world import World

PAUSE_S = 600.0


class History:
    """One request of two operations, and a pause after some events, lifted by its end or by an operator."""

    def __init__(self, server: redis.Redis, pause_at: int, scope: str, resume_after: int | None) -> None:
        self.server = server
        self.scope = scope
        self.pause_at = pause_at
        self.resume_after = resume_after
        self.sent_before = 0
        self.parked = 0
        self.world = asyncio.run(self._live())

    async def _live(self) -> World:
        self.server.flushall()
        world = self.world = World(self.server)
        world.send("a", cluster_id="ehpc-1", node_count=120)
        world.happenings[self.pause_at] = self._pause
        await world.run()
        return world

    def _pause(self) -> None:
        world, later = self.world, self.resume_after
        self.sent_before = len(world.invariants.blockers.submitting)
        people.pause(world, self.scope, PAUSE_S if later is None else None)
        if later == 0:
            world.when_idle.append(self._resume)
        elif later is not None:
            world.happenings[self.pause_at + later] = self._resume

    def _resume(self) -> None:
        self.parked = self.server.zcard(f"scaleout:parked:{self.scope}")
        people.resume(self.world, self.scope)

    @property
    def took_s(self) -> float:
        request = self.world.invariants.requests["a"]
        assert request.status == "succeeded", self.world.history()
        return ((request.finished_at or 0) - request.accepted_at) / 1000


def histories(server: redis.Redis, scope: str, resume_after: int | None = None) -> Iterator[History]:
    """With a pause at every place at which something is still to be sent."""
    pause_at = 1
    while True:
        history = History(server, pause_at, scope, resume_after)
        if history.sent_before == 2:
            return
        yield history
        pause_at += 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scope", [EVERYTHING, "ehpc-1"])
def test_a_pause_between_any_two_steps_stops_submissions_and_lifts_itself(
    server: redis.Redis, scope: str
) -> None:
    took_s = [history.took_s for history in histories(server, scope)]

    # What was written as being sent just then still went out; all else was kept until the end.
    assert min(took_s) > PAUSE_S
    assert len(took_s) > 40


@pytest.mark.timeout(600)
def test_what_waits_for_a_person_to_resume_goes_on_at_once(server: redis.Redis) -> None:
    found = list(histories(server, EVERYTHING, resume_after=0))

    assert sum(history.parked for history in found) > len(found) / 4
    assert max(history.took_s for history in found) < 60


@pytest.mark.timeout(600)
@pytest.mark.parametrize("resume_after", [1, 4])
def test_a_pause_lifted_within_a_step_leaves_nothing_behind(server: redis.Redis, resume_after: int) -> None:
    # A step that was overtaken goes on when its lease has run out.
    assert max(history.took_s for history in histories(server, EVERYTHING, resume_after)) < 200


def test_a_pause_that_is_extended_holds_until_its_later_end(server: redis.Redis) -> None:
    async def live() -> World:
        world = World(server)
        world.send("a", cluster_id="ehpc-1", node_count=2)
        world.happenings[1] = lambda: people.pause(world, "ehpc-1", 60)
        world.when_idle.append(lambda: people.pause(world, "ehpc-1", 900))
        await world.run()
        return world

    request = asyncio.run(live()).invariants.requests["a"]

    assert request.status == "succeeded"
    assert (request.finished_at or 0) - request.accepted_at > 900_000


def test_a_deadline_that_passes_during_a_pause_ends_the_request(
    server: redis.Redis,
) -> None:
    async def live() -> World:
        world = World(server)
        world.send("a", cluster_id="ehpc-1", node_count=2, deadline_s=100)
        world.happenings[1] = lambda: people.pause(world, EVERYTHING)
        await world.run()
        return world

    world = asyncio.run(live())

    assert world.invariants.requests["a"].status == "timed_out"
    assert world.provider.sendings == []
