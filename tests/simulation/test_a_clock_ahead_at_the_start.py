"""A machine starts with a wrong clock, and so do Redis and its workers: nothing ends by it."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from config.policy.model import Policy
from tests.simulation import people
from tests.simulation.calm_world import live, the_request
from tests.simulation.test_schedules import EVERY, FIRST, policy, spec
from tests.simulation.world import World

BEGAN_MS = 1_700_000_000_000
HOUR_S = 3_600
TICKS = 40


def tick_for(world: World, seconds: int) -> None:
    """Let the first worker tick every second, as real ones do."""

    async def tick() -> None:
        for _ in range(seconds):
            await world.clock.sleep(1)
            world.start(world.workers[0].tick())

    world.start(tick())


def start_machine(world: World, ahead_s: int) -> None:
    """End all workers; the server comes back with another time, by which a new worker begins."""
    for worker in world.workers:
        worker.crash()
    world.server_time.step_ms = 1000 * ahead_s
    world.faults["server clock steps"] += 1
    world.workers = [world.new_worker()]
    tick_for(world, TICKS)


def wrong_for_a_minute(world: World, after_s: int, ahead_s: int) -> None:
    """Let the machine start again after a time, with a clock ahead that is set right a minute later."""

    async def course() -> None:
        await world.clock.sleep(after_s)
        start_machine(world, ahead_s)
        await world.clock.sleep(60)
        world.server_time.step_ms = 0
        tick_for(world, TICKS)

    world.start(course())


def test_no_deadline_ends_a_request_whose_job_still_runs(server: redis.Redis) -> None:
    def prepare(world: World) -> None:
        world.provider.options.job_duration_s = "600"
        wrong_for_a_minute(world, 30, 3 * HOUR_S)

    world = live(server, prepare, deadline_s=2 * HOUR_S)

    assert the_request(world).status == "succeeded"
    # That nothing is done meanwhile is told.
    assert int(server.hget("scaleout:counters", "time_not_proven") or 0) > 0


def test_a_limit_does_not_forget_what_counts(server: redis.Redis) -> None:
    """The invariants compare what was bought in each hour with the limit."""

    async def history() -> World:
        limits = {"limits": {"nodes_per_hour": 10, "wait": True}}
        world = World(server, policy=Policy.model_validate(limits))
        world.send("a", cluster_id="ehpc-1", node_count=10, deadline_s=24 * HOUR_S)
        wrong_for_a_minute(world, 80, 2 * HOUR_S)

        async def send_another() -> None:
            await world.clock.sleep(20)
            world.send("b", cluster_id="ehpc-2", node_count=10, deadline_s=24 * HOUR_S)

        world.start(send_another())
        await world.run()
        return world

    world = asyncio.run(history())

    first, second = (sending.left_at for sending in world.provider.sendings)
    assert second - first >= 1000 * HOUR_S


def test_a_pause_is_not_lifted_before_its_time(server: redis.Redis) -> None:
    def prepare(world: World) -> None:
        people.pause(world, "everything", 2 * HOUR_S)
        wrong_for_a_minute(world, 30, 3 * HOUR_S)

    world = live(server, prepare, deadline_s=24 * HOUR_S)

    (sending,) = world.provider.sendings
    assert sending.left_at - BEGAN_MS >= 2 * 1000 * HOUR_S


def test_no_occurrence_to_come_is_reported_as_missed(server: redis.Redis, tmp_path: Path) -> None:
    last = FIRST + EVERY * 11
    path = policy(tmp_path, {"name": "s", "cluster_id": "ehpc-1", "not_after": last, "catch_up_s": 600})

    async def history() -> None:
        world = World(server, policy_file=path)
        wrong_for_a_minute(world, 250, 3 * HOUR_S)
        await world.run()

    asyncio.run(history())

    assert len(spec(server, "s")) == timedelta(hours=1) / EVERY


@pytest.mark.parametrize("restarted", ["with the wrong clock", "after it was set right"])
def test_a_restarted_server_is_settled_soon_after_its_clock_is_right(
    server: redis.Redis, restarted: str
) -> None:
    """Nothing is sent for a while after a restart: not for as long as the clock was ahead."""

    def prepare(world: World) -> None:
        def restart(when: str) -> None:
            if when == restarted:
                world.direct.run("HSET", "scaleout:epoch", "server", "0" * 40)

        async def course() -> None:
            await world.clock.sleep(HOUR_S)
            restart("with the wrong clock")
            start_machine(world, 8 * HOUR_S)
            await world.clock.sleep(60)
            world.server_time.step_ms = 0
            restart("after it was set right")
            tick_for(world, TICKS)
            await world.clock.sleep(TICKS + 60)
            world.send("b", cluster_id="ehpc-2", node_count=2, deadline_s=2 * HOUR_S)
            tick_for(world, 600)

        world.start(course())

    world = live(server, prepare, deadline_s=2 * HOUR_S)

    request = world.invariants.requests["b"]
    assert request.status == "succeeded"
    # By the time that is right, although nothing has asked the provider before.
    assert abs(request.accepted_at - BEGAN_MS - 1000 * (HOUR_S + 120 + TICKS)) < 60_000
