"""A person decides that an operation was not executed: what the provider shows is no matter of opinion."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import redis

from tasks.handlers.check_decision import check_absence, check_adoption
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.record_values import State
from tasks.state_machine.decision_check import Objection
from tests.simulation import people
from tests.simulation.calm_world import live
from tests.simulation.test_a_clock_ahead_at_the_start import tick_for
from tests.simulation.worker import Worker
from tests.simulation.world import World
from workers.simulator.cloud import Job

# A deleted record leaves its requests without an end.
pytestmark = pytest.mark.permanent_keys("scaleout:*")


async def objections_to_absence(world: World, operation_id: str) -> tuple[State, Sequence[Objection]]:
    person = Worker(world, "person")
    await person.begin()
    operation = await person.ledger.operation(operation_id)
    assert operation is not None
    return operation.state, await check_absence(person.ctx, operation)


@pytest.mark.parametrize("call_outcome", ["fine", "reply lost"])
@pytest.mark.parametrize("skew_s", [0.0, -3.0])
def test_a_rebuilt_operation_with_a_job_in_the_log_was_executed(
    server: redis.Redis, skew_s: float, call_outcome: str
) -> None:
    """The provider's clock may be behind by a little: the job seems older than the call then."""

    async def history() -> tuple[State, Sequence[Objection]]:
        world = World(server)
        world.skew_s = skew_s
        world.provider.options.job_duration_s = "3000"
        world.call_outcomes.append(call_outcome)
        world.send("a", cluster_id="ehpc-1", node_count=2)
        # That the ledger lacks a record is the fault itself.
        world.invariants.check = world.invariants.read  # type: ignore[method-assign]
        world.status_check.look = _nothing  # type: ignore[method-assign]
        found: asyncio.Future[tuple[State, Sequence[Objection]]] = world.loop.create_future()

        async def lose_record() -> None:
            await world.clock.sleep(10)
            (key,) = map(str, server.keys("scaleout:operation:*"))
            server.delete(key)
            tick_for(world, 60)
            await world.clock.sleep(130)
            found.set_result(await objections_to_absence(world, key.removeprefix("scaleout:operation:")))

        world.start(lose_record())
        running = asyncio.ensure_future(world.run())
        found.add_done_callback(lambda _: running.cancel())
        with suppress(asyncio.CancelledError):
            await running
        return found.result()

    state, objections = asyncio.run(history())

    assert state is State.HELD
    assert any("job j-" in one.text for one in objections)


async def _nothing() -> None:
    """Nothing is compared."""


def test_a_job_that_the_response_has_named_is_certain_whatever_the_log_calls_it(server: redis.Redis) -> None:
    found: list[Any] = []

    def prepare(world: World) -> None:
        world.call_outcomes.append("job fails")
        world.provider.nodes_refused = True
        row = world.provider.row

        def renamed(job: Job) -> dict[str, Any]:
            return {**row(job), "job_action": "HpcClusterAddClusterNodesV2"}

        world.provider.row = renamed  # type: ignore[method-assign]

        async def decide(operation_id: str) -> None:
            async def look() -> None:
                person = Worker(world, "person")
                await person.begin()
                changes = ChangeSet()
                zone = await person.ledger.zone("jn1a")
                changes.write(zone.model_copy(update={"action_seen": True}))
                await person.ledger.commit(changes)
                found.extend(await objections_to_absence(world, operation_id))

            world.start(look())
            await world.continue_until_idle()
            world.provider.nodes_refused = False
            await people.decide(world, operation_id)

        world.decide = decide  # type: ignore[method-assign]

    live(server, prepare, deadline_s=600)

    state, (objection,) = found
    assert state is State.HELD
    assert objection.certain


def test_a_job_of_another_action_is_no_candidate_once_the_zone_shows_ours(server: redis.Redis) -> None:
    """The name of our action is a guess, which a job of somebody else's may confirm."""
    found: list[Objection] = []

    def prepare(world: World) -> None:
        world.call_outcomes.append("reply lost")

        async def look() -> None:
            await world.clock.sleep(20)
            cloud = world.provider.cloud
            foreign = cloud.foreign_job("ehpc-9", "jn1a", 2, "HpcClusterDeleteClusterNodes")
            await world.clock.sleep(10)
            person = Worker(world, "person")
            await person.begin()
            operation = await person.ledger.operation(world.provider.sendings[0].operation_id)
            assert operation is not None
            found.extend(await check_adoption(person.ctx, operation, foreign.job_id))

        world.start(look())

    live(server, prepare)

    assert any("the action of job" in one.text and one.certain for one in found)


def test_what_is_certain_stays_so_although_the_nodes_cannot_be_listed(server: redis.Redis) -> None:
    """A job of another cluster is no candidate, however much of the provider's answers is missing."""
    found: list[Objection] = []

    def prepare(world: World) -> None:
        world.call_outcomes.append("reply lost")
        world.provider.options.node_ids_in_log = "never"

        async def look() -> None:
            await world.clock.sleep(20)
            foreign = world.provider.cloud.foreign_job("ehpc-9", "jn1a", 2, "HpcClusterAddClusterNodes")
            await world.clock.sleep(60)
            person = Worker(world, "person")
            await person.begin()
            operation = await person.ledger.operation(world.provider.sendings[0].operation_id)
            assert operation is not None
            world.provider.nodes_refused = True
            found.extend(await check_adoption(person.ctx, operation, foreign.job_id))
            world.provider.nodes_refused = False

        world.start(look())

    live(server, prepare)

    assert any("is of cluster ehpc-9" in one.text and one.certain for one in found)
