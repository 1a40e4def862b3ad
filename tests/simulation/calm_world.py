"""A world with one request, in which nothing goes wrong but what a test prepares."""

import asyncio
from collections.abc import Callable
from typing import Any

import redis

from tasks.ledger.records import Operation, Request
from tests.simulation.world import World

Prepare = Callable[[World], None]


def live(server: redis.Redis, prepare: Prepare, **fields: Any) -> World:
    async def history() -> World:
        world = World(server)
        world.send("a", **{"cluster_id": "ehpc-1", "node_count": 2, **fields})
        prepare(world)
        await world.run()
        return world

    return asyncio.run(history())


def the_request(world: World) -> Request:
    return world.invariants.requests["a"]


def operations(world: World) -> list[Operation]:
    return sorted(world.invariants.operations.values(), key=lambda operation: operation.planned_at)
