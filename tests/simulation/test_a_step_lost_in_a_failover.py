"""The master dies after an operation was sent, and the replica lacks the step that said so."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import redis

from tasks import admin
from tasks.ledger.record_values import State
from tests.simulation.calm_world import operations
from tests.simulation.provider_model import Sending
from tests.simulation.world import World

# The copy of the ledger is written key by key, and what ended in it gets no time to live here.
pytestmark = pytest.mark.permanent_keys("scaleout:*")


class Replica:
    """What a replica has of the ledger, as bytes."""

    def __init__(self, server: redis.Redis) -> None:
        options = {**server.connection_pool.connection_kwargs, "decode_responses": False}
        pool = redis.ConnectionPool(connection_class=server.connection_pool.connection_class, **options)
        self._server: Any = redis.Redis(connection_pool=pool)
        self._content: Mapping[bytes, bytes] = {}

    def follow(self) -> None:
        self._content = {key: self._server.dump(key) for key in self._server.keys("*")}

    def become_master(self) -> None:
        self._server.flushdb()
        for key, content in self._content.items():
            self._server.restore(key, 0, content)
        # Its history has an id of its own from here on.
        self._server.hset("scaleout:epoch", "server", "0" * 40)


def failover_while_sending(world: World, replica: Replica) -> None:
    """Let the replica follow until the first listing, and be the master once the call has left."""
    listed, leave = world.provider.listed, world.provider.leave

    def first_listed(zone: str, start: Any, cluster_id: str | None, job_ids: str | None) -> Any:
        if cluster_id is not None:
            world.provider.listed = listed  # type: ignore[method-assign]
            replica.follow()
        return listed(zone, start, cluster_id, job_ids)

    def first_left(*arguments: Any) -> Sending:
        sending = leave(*arguments)
        world.provider.leave = leave  # type: ignore[method-assign]
        replica.become_master()
        world.say("the replica becomes the master, without the last step")
        return sending

    world.provider.listed = first_listed  # type: ignore[method-assign]
    world.provider.leave = first_left  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("call_outcome", ["fine", "reply lost"])
def test_what_was_sent_is_held_and_not_sent_again(server: redis.Redis, call_outcome: str) -> None:
    async def history() -> World:
        world = World(server)
        world.workers[0].ledger.settle_ms = 105_000
        world.call_outcomes.append(call_outcome)
        # That the ledger differs from the truth is the fault itself.
        world.invariants.check = world.invariants.read  # type: ignore[method-assign]
        world.invariants.check_end = lambda: None  # type: ignore[method-assign]
        failover_while_sending(world, Replica(server))
        world.send("a", cluster_id="ehpc-1", node_count=2)

        async def acknowledge() -> None:
            await world.clock.sleep(300)
            (operation,) = operations(world)
            assert operation.state is State.HELD
            assert await world.workers[0].ledger.lost_since() is not None
            await admin.acknowledge_data_loss(world.workers[0].ledger, by="somebody", reason=None)

        world.start(acknowledge())
        await world.run()
        return world

    world = asyncio.run(history())

    (operation,) = operations(world)
    assert list(world.provider.cloud.jobs) == [operation.job_id]
    assert operation.state is State.SUCCEEDED
