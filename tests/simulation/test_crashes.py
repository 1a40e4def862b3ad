"""A process dies at each point of input or output in turn, and at each pair of points."""

import asyncio
import os

import pytest
import redis

from tests.simulation.world import World

EVERY = int(os.environ.get("PAIRS_EVERY", "3"))


def run(server: redis.Redis, plan: list[int], *, small: bool) -> int:
    """One history in which a process dies at each point of `plan`; gives the number of points passed."""
    server.flushall()

    async def live() -> int:
        world = World(server, plan=plan)
        world.send("a", cluster_id="ehpc-1", node_count=2)
        if not small:
            world.send("b", cluster_id="ehpc-1", node_count=120)
            world.send("c", cluster_id="ehpc-2", node_count=3, node_role="login")
        await world.run()
        return world.points

    return asyncio.run(live())


def test_nothing_goes_wrong_without_faults(server: redis.Redis) -> None:
    assert run(server, [], small=False) > 20


@pytest.mark.timeout(600)
def test_a_crash_at_any_point_loses_nothing_and_buys_nothing_twice(server: redis.Redis) -> None:
    point = 1
    while run(server, [point], small=False) >= point:
        point += 1
    assert point > 50


@pytest.mark.timeout(600)
def test_a_crash_during_the_recovery_from_any_crash_does_no_harm_either(server: redis.Redis) -> None:
    first = 1
    runs = 0
    while True:
        passed = run(server, [first], small=True)
        if passed < first:
            break
        # Every third one, and the others after the next first points; PAIRS_EVERY=1 takes all.
        for second in range(first + 1 + first % EVERY, passed + 1, EVERY):
            run(server, [first, second], small=True)
            runs += 1
        first += 1
    assert runs > 400 / EVERY
