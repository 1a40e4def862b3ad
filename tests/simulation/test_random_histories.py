"""Seeded histories in which everything that can go wrong does, at any time.

A seed that fails prints its history and can be run again alone: `make simulate SEEDS=17-17`.
"""

import asyncio
import os
import random

import pytest
import redis

from tests.simulation.faults import WILD
from tests.simulation.neighbour import Neighbour
from tests.simulation.quirks import Quirks
from tests.simulation.tally import Tally
from tests.simulation.world import World

ZONES = ("jn1a", "pek3a", "jn1a")  # of each cluster; a few requests name another

SEEDS = os.environ.get("SEEDS", "1-40")
NEIGHBOUR_EVERY = 10
NEIGHBOURS = 1_000_000


def seeds() -> range:
    first, _, last = SEEDS.partition("-")
    return range(int(first), int(last or first) + 1)


async def live(server: redis.Redis, seed: int, tally: Tally) -> None:
    """One history: a few clusters, many small requests, some large, some that nobody can fulfil in time."""
    rng = random.Random(seed)
    world = World(
        server,
        seed=seed,
        chances=WILD,
        workers=rng.randint(1, 3),
        quota_calls=rng.choice([2000, 2000, 120]),
        quirks=Quirks.by_chance(rng),
    )
    if rng.random() < 0.7:
        world.send("first", cluster_id="ehpc-0", node_count=1)
    for number in range(rng.randint(1, 6)):
        cluster = rng.randint(0, 2)
        world.send(
            f"r-{number}",
            cluster_id=f"ehpc-{cluster}",
            zone=ZONES[cluster] if rng.random() < 0.95 else rng.choice(ZONES),
            node_count=rng.choice([1, 2, 7, 40, 99, 130]),
            on_shortage=rng.choice(["wait", "partial", "fail"]),
            deadline_s=rng.choice([60, 600, 7200]),
            node_role=rng.choice(["compute", "compute", "login"]),
        )
    try:
        await world.run()
    finally:
        tally.add(world)


@pytest.mark.timeout(0)
def test_no_history_breaks_a_promise(server: redis.Redis) -> None:
    tally = Tally()
    try:
        for seed in seeds():
            server.flushall()
            # A script that the server knows takes a call less: no history may depend on those before it.
            server.script_flush()
            neighbour = None
            if seed % NEIGHBOUR_EVERY == 0:
                asyncio.run(live(server, seed + NEIGHBOURS, tally))
                neighbour = Neighbour(server)
            asyncio.run(live(server, seed, tally))
            if neighbour is not None:
                neighbour.check()
    finally:
        print(tally.table())  # noqa: T201 - `make simulate` shows it
