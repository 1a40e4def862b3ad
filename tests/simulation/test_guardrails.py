"""Nothing is bought over a limit, whatever goes wrong: invariants compare it with the provider's truth."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import redis

from config.policy import Policy
from tests.simulation.world import CALM, WILD, Chances, World

# What strangers buy on a cluster is not ours to limit.
FAULTS = replace(WILD, foreign=0.0)
SEEDS = range(1, int(os.environ.get("GUARDRAIL_SEEDS", "25")) + 1)


def limits(**tables: Any) -> Policy:
    return Policy.model_validate({"limits": tables})


def two_hundred_at_once(server: redis.Redis, policy: Policy, chances: Chances, seed: int) -> World:
    """Two hundred requests for 1 to 7 nodes each, about 800 in all, on one cluster."""
    server.flushall()

    async def live() -> World:
        rng = random.Random(seed)
        world = World(server, seed=seed, chances=chances, policy=policy, workers=3)
        for number in range(200):
            world.send(
                f"r-{number}",
                cluster_id="ehpc-0",
                node_count=rng.randint(1, 7),
                requested_by=rng.choice(["a", "b"]),
                deadline_s=3_600,
            )
        await world.run()
        return world

    return asyncio.run(live())


def made(world: World) -> int:
    return sum(job.made for job in world.provider.cloud.jobs.values())


def statuses(world: World) -> Counter[str]:
    return Counter(str(request.status) for request in world.invariants.requests.values())


def test_two_hundred_requests_at_once_fill_a_cluster_to_its_ceiling_and_no_further(
    server: redis.Redis,
) -> None:
    world = two_hundred_at_once(server, limits(nodes_per_cluster=500), CALM, 1)

    assert 494 <= made(world) <= 500
    assert set(statuses(world)) == {"succeeded", "rejected"}
    (refused, *_) = (
        request for request in world.invariants.requests.values() if request.status == "rejected"
    )
    assert refused.last_refusal is not None
    assert refused.last_refusal.kind == "guardrail"
    assert "limits.nodes_per_cluster = 500: " in refused.last_refusal.message


@pytest.mark.parametrize("seed", range(1, 3))
@pytest.mark.timeout(300)
def test_two_hundred_requests_at_once_stay_under_the_ceiling_under_faults(
    server: redis.Redis, seed: int
) -> None:
    world = two_hundred_at_once(server, limits(nodes_per_cluster=500), FAULTS, seed)

    assert made(world) <= 500


def test_what_waits_for_room_on_the_cluster_waits_until_its_deadline(server: redis.Redis) -> None:
    world = two_hundred_at_once(server, limits(nodes_per_cluster=500, wait=True), CALM, 2)

    assert 494 <= made(world) <= 500
    assert set(statuses(world)) == {"succeeded", "timed_out"}


def test_requests_that_come_at_once_are_refused_when_too_much_is_in_flight(server: redis.Redis) -> None:
    world = two_hundred_at_once(server, limits(nodes_in_flight_per_cluster=300), CALM, 3)

    assert set(statuses(world)) == {"succeeded", "rejected"}
    assert made(world) <= 300


@pytest.mark.timeout(0)
def test_no_history_buys_more_than_the_policy_allows(server: redis.Redis) -> None:
    """Several clusters, limits of every kind, with and without waiting, and everything that goes wrong."""
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        server.flushall()
        world = asyncio.run(some_history(server, seed))
        seen.update(statuses(world))
    assert seen["rejected"] > 0
    assert seen["succeeded"] > 0


async def some_history(server: redis.Redis, seed: int) -> World:
    rng = random.Random(seed)
    world = World(server, seed=seed, chances=FAULTS, policy=some_policy(rng), workers=rng.randint(1, 3))
    for number in range(rng.randint(4, 14)):
        world.send(
            f"r-{number}",
            cluster_id=f"ehpc-{rng.randint(0, 2)}",
            node_count=rng.choice([1, 2, 7, 20, 40, 99, 130]),
            on_shortage=rng.choice(["wait", "partial", "fail"]),
            deadline_s=rng.choice([60, 600, 7200]),
            requested_by=rng.choice(["a", "b", None]),
        )
    await world.run()
    return world


def some_policy(rng: random.Random) -> Policy:
    def table(*names: str) -> dict[str, Any]:
        chosen = {name: rng.choice([20, 60, 150, 400]) for name in names if rng.random() < 0.5}
        return {**chosen, "wait": rng.random() < 0.5}

    rolling = ("nodes_per_hour", "nodes_per_day")
    all_of_them = ("nodes_in_flight_per_cluster", "nodes_per_cluster", *rolling)
    return limits(
        **table("nodes_per_cluster", *rolling),
        clusters={"ehpc-0": table(*all_of_them), "ehpc-1": table(*all_of_them)},
        producers={"a": table(*rolling)},
    )
