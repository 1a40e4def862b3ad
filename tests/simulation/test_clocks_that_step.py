"""Clocks that step just when it matters: between a listing and its call, or while a call is on its way."""

from collections.abc import Mapping
from typing import Any

import redis

from tests.simulation.calm_world import Prepare, live, operations, the_request
from tests.simulation.provider_model import Sending
from tests.simulation.world import World
from workers.simulator.cloud import Job

AN_HOUR_S = 3_600


def both_step(world: World, seconds: int) -> None:
    """Let the provider's clock and the Redis server's step together; 0 sets them back."""
    world.server_time.step_ms, world.skew_s = 1000 * seconds, float(seconds)
    world.faults["server clock steps"] += 1


def follow(world: World) -> None:
    """Let the worker follow the server, as it does once a reply has confirmed its time."""
    (worker,) = world.workers
    worker.clock.observe(world.server_time.now_ms())
    worker.clock.follow_step()


def set_back_after(world: World, seconds: int) -> None:
    back = world.loop.create_future()
    back.add_done_callback(lambda _: both_step(world, 0))
    world.timers.append((world.clock.now_ms() + 1000 * seconds, back))


def lose_a_reply_after_55_s(world: World) -> None:
    """Let the call be carried out late, shortly before its signature is too old."""
    leave = world.provider.leave
    world.call_outcomes.append("reply lost")

    def leave_for_long(*arguments: Any) -> Sending:
        sending = leave(*arguments)
        sending.arrives_at += 55_000
        return sending

    world.provider.leave = leave_for_long  # type: ignore[method-assign, assignment]


def at_first_listing(do: Prepare, *, of_zone: bool) -> Prepare:
    """Have `do` happen just before the first listing of the zone, or of a cluster."""

    def prepare(world: World) -> None:
        listed = world.provider.listed

        def first_listed(zone: str, start: Any, cluster_id: str | None, job_ids: str | None) -> list[Job]:
            if start is not None and (cluster_id is None) is of_zone:
                world.provider.listed = listed  # type: ignore[method-assign]
                do(world)
            return listed(zone, start, cluster_id, job_ids)

        world.provider.listed = first_listed  # type: ignore[method-assign]

    return prepare


def test_a_baseline_of_a_clock_that_was_ahead_is_listed_again(server: redis.Redis) -> None:
    """A reply sets the worker's clock right between two calls: the job would be older than any listing."""

    def set_right(world: World) -> None:
        world.server_time.step_ms = 0
        follow(world)
        world.advance(80_000)  # longer than nothing is sent after that: its other pages are slow

    def begin_a_day_ahead(world: World) -> None:
        world.server_time.step_ms = 90_000_000
        world.faults["server clock steps"] += 1
        world.call_outcomes.append("made but busy")
        at_first_listing(set_right, of_zone=False)(world)

    world = live(server, begin_a_day_ahead)

    (operation,) = operations(world)
    assert (operation.state, the_request(world).status) == ("succeeded", "succeeded")
    assert operation.listed_since is not None
    assert operation.sent_at is not None
    assert operation.listed_since < operation.sent_at


def test_nothing_is_sent_just_after_both_clocks_have_stepped_together(server: redis.Redis) -> None:
    """They may step back while the call is on its way: its job would be an hour older than the call."""

    def step_together(world: World) -> None:
        def step() -> None:
            both_step(world, AN_HOUR_S)
            follow(world)
            set_back_after(world, 50)

        world.happenings[10] = step
        lose_a_reply_after_55_s(world)

    world = live(server, step_together)

    assert the_request(world).status == "succeeded"


def test_a_job_that_an_hours_step_makes_older_than_its_call_is_seen(server: redis.Redis) -> None:
    """A worker begins while both clocks are an hour ahead; they are set back while its call is on its way."""

    def begin_an_hour_ahead(world: World) -> None:
        both_step(world, AN_HOUR_S)
        set_back_after(world, 20)
        lose_a_reply_after_55_s(world)

    world = live(server, begin_an_hour_ahead)

    (operation,) = operations(world)
    assert (operation.state, operation.nodes_added) == ("succeeded", 2)
    assert any("a person decides" in line for line in world.trace)


def test_a_poll_in_which_the_clock_is_set_forward_delays_no_other(server: redis.Redis) -> None:
    """It would seem to have lasted an hour, and three times as long is left between two polls."""
    began_ms: list[int] = []

    def step_forward(world: World) -> None:
        (job,) = world.provider.cloud.jobs.values()
        job.ends_at += AN_HOUR_S + 30
        began_ms.append(world.clock.now_ms())
        both_step(world, AN_HOUR_S)
        follow(world)

    world = live(server, at_first_listing(step_forward, of_zone=True), deadline_s=8 * AN_HOUR_S)

    assert the_request(world).status == "succeeded"
    assert world.clock.now_ms() - began_ms[0] < 300_000


def test_no_deadline_ends_a_request_while_the_clocks_are_known_to_disagree(server: redis.Redis) -> None:
    """Its operation is planned, and looked at again and again."""
    disagreed: list[bool] = []

    def prepare(world: World) -> None:
        world.server_time.step_ms = 7_000_000
        world.faults["server clock steps"] += 1
        publish = world.publish

        def noted(task_id: str, outcome: Mapping[str, Any]) -> None:
            disagreed.append(world.workers[0].ctx.clocks_disagree)
            publish(task_id, outcome)

        world.publish = noted  # type: ignore[method-assign]

    world = live(server, prepare, deadline_s=100)

    assert the_request(world).status is not None
    assert disagreed == [False]
