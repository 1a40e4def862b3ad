"""A pool whose operations fail one after the other, at the provider or by its refusals."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import redis

from tests.simulation import people
from tests.simulation.world import World

FAILS = "job fails"


def live(
    server: redis.Redis, call_outcomes: Sequence[str], *, plan: Sequence[int] = (), **fields: Any
) -> World:
    """Ten requests of a pool that are too large to share a call; `call_outcomes` in order."""
    server.flushall()

    async def history() -> World:
        world = World(server, plan=plan)
        world.call_outcomes.extend(call_outcomes)
        for number in range(10):
            given = {"cluster_id": "ehpc-1", "node_count": 60, "deadline_s": 86_400, **fields}
            world.send(f"r-{number}", **given)
        await world.run()
        return world

    return asyncio.run(history())


def sizes(world: World) -> list[int]:
    operations = sorted(world.invariants.operations.values(), key=lambda operation: operation.planned_at)
    return [operation.node_count for operation in operations]


def events(server: redis.Redis) -> dict[str, str]:
    """How often each event has happened. Other counters have a colon in their name."""
    counted = server.hgetall("scaleout:counters")
    return {str(name): str(count) for name, count in counted.items() if ":" not in str(name)}


@pytest.mark.parametrize("call_outcome", [FAILS, "refused 2400", "refused 1100"])
def test_after_five_failures_one_node_probes_and_a_success_closes_the_breaker(
    server: redis.Redis, call_outcome: str
) -> None:
    world = live(server, [call_outcome] * 5)

    assert sizes(world)[:7] == [60, 60, 60, 60, 60, 1, 59]
    assert len(world.invariants.blockers.probes) == 1
    succeeded = [one for one in world.invariants.requests.values() if one.status == "succeeded"]
    assert len(succeeded) == 5
    assert events(server) == {"breaker_opened": "1", "breaker_probe": "1", "breaker_closed": "1"}
    assert server.zcard("scaleout:broken") == 0


def test_each_probe_that_fails_doubles_the_pause(server: redis.Redis) -> None:
    world = live(server, [FAILS] * 8)

    assert sizes(world)[:9] == [60, 60, 60, 60, 60, 1, 1, 1, 1]
    operations = sorted(world.invariants.operations.values(), key=lambda operation: operation.planned_at)
    pauses = [
        (later.planned_at - (earlier.finished_at or 0)) // 1000
        for earlier, later in pairwise(operations[4:9])
    ]
    assert pauses == [60, 120, 240, 480]


def test_failures_with_a_success_between_them_open_nothing(server: redis.Redis) -> None:
    world = live(server, [FAILS, FAILS, FAILS, FAILS, "fine", FAILS, FAILS, FAILS, FAILS])

    assert sizes(world) == [60] * 10
    assert "breaker_opened" not in server.hgetall("scaleout:counters")


@pytest.mark.parametrize(
    "call_outcome", ["refused 5200", "refused 5300", "refused 1300", "quota", "refused 1200"]
)
def test_what_says_nothing_about_the_pool_neither_opens_the_breaker_nor_counts(
    server: redis.Redis, call_outcome: str
) -> None:
    world = live(server, [FAILS] * 4 + [call_outcome] * 2)

    assert 1 not in sizes(world)
    assert "breaker_opened" not in server.hgetall("scaleout:counters")


def test_a_probe_that_is_refused_for_now_leaves_the_breaker_open(
    server: redis.Redis,
) -> None:
    world = live(server, [FAILS] * 5 + ["refused 5200", "refused 5300"])

    assert sizes(world)[:9] == [60, 60, 60, 60, 60, 1, 1, 1, 60]


def test_a_request_that_would_rather_have_none_than_some_is_probed_whole(server: redis.Redis) -> None:
    world = live(server, [FAILS] * 5, on_shortage="fail")

    assert sizes(world) == [60] * 10
    assert len(world.invariants.blockers.probes) == 1


def test_another_pool_of_the_cluster_goes_on_meanwhile(server: redis.Redis) -> None:
    async def history() -> World:
        world = World(server)
        world.call_outcomes.extend([FAILS] * 5)
        for number in range(6):
            world.send(f"r-{number}", cluster_id="ehpc-1", node_count=60)
        world.happenings[300] = lambda: world.send(
            "other", cluster_id="ehpc-1", node_count=3, node_role="login"
        )
        await world.run()
        return world

    world = asyncio.run(history())
    requests = world.invariants.requests

    assert requests["other"].status == requests["r-5"].status == "succeeded"
    assert (requests["other"].finished_at or 0) < (requests["r-5"].finished_at or 0)


def test_a_person_who_resumes_the_cluster_closes_its_breaker_at_once(server: redis.Redis) -> None:
    async def history() -> World:
        world = World(server)
        world.call_outcomes.extend([FAILS] * 5)
        for number in range(6):
            world.send(f"r-{number}", cluster_id="ehpc-1", node_count=60)
        opened = world.server.zcard

        def resume_when_open() -> None:
            if opened("scaleout:broken"):
                people.resume(world, "ehpc-1")
            else:
                world.happenings[world.events + 1] = resume_when_open

        world.happenings[1] = resume_when_open
        await world.run()
        return world

    world = asyncio.run(history())

    assert sizes(world) == [60] * 6
    assert world.invariants.requests["r-5"].status == "succeeded"
    assert events(server) == {"breaker_opened": "1", "breaker_closed": "1"}


@pytest.mark.timeout(600)
def test_a_breaker_survives_the_death_of_any_worker(server: redis.Redis) -> None:
    passed = live(server, [FAILS] * 6).points
    for point in range(1, passed + 1, 20):
        world = live(server, [FAILS] * 6, plan=[point])
        assert world.invariants.blockers.probes, world.history()
