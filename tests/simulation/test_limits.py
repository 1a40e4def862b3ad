"""Nothing is bought over a limit, whatever goes wrong: invariants compare it with the provider's truth."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from config.policy.model import Policy
from tasks.ehpc.errors import reason
from tasks.ledger.record_values import State
from tests.simulation.faults import CALM, WILD, Chances
from tests.simulation.world import World
from workers.simulator.cloud import Node

# What others buy on a cluster is not limited.
FAULTS = replace(WILD, foreign=0.0)
SEEDS = range(1, int(os.environ.get("GUARDRAIL_SEEDS", "15")) + 1)


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


def test_two_hundred_requests_fill_a_cluster_to_its_limit_and_no_further(
    server: redis.Redis,
) -> None:
    world = two_hundred_at_once(server, limits(nodes_per_cluster=500), CALM, 1)

    assert 494 <= made(world) <= 500
    assert set(statuses(world)) == {"succeeded", "rejected"}
    (refused, *_) = (
        request for request in world.invariants.requests.values() if request.status == "rejected"
    )
    assert refused.last_reason is not None
    assert refused.last_reason.kind == "limit"
    assert "limits.nodes_per_cluster = 500: " in refused.last_reason.message


@pytest.mark.parametrize("seed", range(1, 5))
def test_many_clusters_planned_at_once_stay_within_the_hour_of_the_account(
    server: redis.Redis, seed: int
) -> None:
    """Each cluster has its own lock: only the script that commits a plan sees them all."""
    server.flushall()

    async def live() -> World:
        chances = replace(CALM, read_is_slow=0.5, sends_twice=0.1)
        policy = limits(nodes_per_hour=100, producers={"a": {"nodes_per_hour": 50}})
        world = World(server, seed=seed, chances=chances, policy=policy, workers=3)
        for number in range(12):
            world.send(
                f"r-{number}",
                cluster_id=f"ehpc-{number}",
                node_count=20,
                requested_by="a" if number % 2 else "b",
            )
        await world.run()
        return world

    world = asyncio.run(live())

    assert made(world) == 100
    assert statuses(world) == {"succeeded": 5, "rejected": 7}


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


def test_concurrent_requests_are_refused_when_too_many_nodes_are_in_flight(server: redis.Redis) -> None:
    world = two_hundred_at_once(server, limits(nodes_in_flight_per_cluster=300), CALM, 3)

    assert set(statuses(world)) == {"succeeded", "rejected"}
    assert made(world) <= 300


def one_request(server: redis.Redis, world_of: Callable[[], World], **fields: Any) -> World:
    server.flushall()

    async def live() -> World:
        world = world_of()
        world.send("r-0", **{"cluster_id": "ehpc-0", "node_count": 10, **fields})
        await world.run()
        return world

    return asyncio.run(live())


def test_an_outdated_plan_is_compared_with_the_present_policy(
    server: redis.Redis,
) -> None:
    def held_up() -> World:
        world = World(server, policy=limits(nodes_per_request=50))
        world.skew_s = -7.0

        async def later() -> None:
            await world.clock.sleep(200)
            world.policy = limits(nodes_per_request=5)
            world.skew_s = 0.0

        world.start(later())
        return world

    world = one_request(server, held_up)

    assert world.provider.sendings == []
    assert {operation.state for operation in world.invariants.operations.values()} == {State.ABANDONED}
    assert statuses(world) == {"rejected": 1}


def test_an_operation_that_has_waited_is_sent_if_nothing_has_changed(server: redis.Redis) -> None:
    def held_up() -> World:
        world = World(server, policy=limits(nodes_per_cluster=50))
        world.skew_s = -7.0

        async def later() -> None:
            await world.clock.sleep(200)
            world.skew_s = 0.0

        world.start(later())
        return world

    world = one_request(server, held_up)

    assert [sending.call_outcome for sending in world.provider.sendings] == ["fine"]
    assert statuses(world) == {"succeeded": 1}


def test_a_full_window_serves_the_rest_when_it_has_passed(server: redis.Redis) -> None:
    world = one_request(
        server,
        lambda: World(server, policy=limits(nodes_per_hour=100, wait=True)),
        node_count=250,
        deadline_s=4 * 3_600,
    )

    assert statuses(world) == {"succeeded": 1}
    started = sorted(job.created_at for job in world.provider.cloud.jobs.values())
    assert [round((at - started[0]) / 3_600) for at in started] == [0, 0, 1, 1, 2]


def test_nodes_of_an_operation_that_just_ended_count_before_they_are_listed(
    server: redis.Redis,
) -> None:
    """The provider's lists may lag behind its jobs."""

    def lagging() -> World:
        world = World(server, policy=limits(nodes_per_cluster=150))
        nodes = world.provider.cloud.nodes

        def late(zone: str, cluster_id: str) -> list[Node]:
            shown_until = world.clock.now_ms() / 1000 - 8
            return [node for node in nodes(zone, cluster_id) if node.create_time <= shown_until]

        world.provider.cloud.nodes = late  # type: ignore[method-assign]
        world.send("r-1", cluster_id="ehpc-0", node_count=80)
        return world

    world = one_request(server, lagging, node_count=80)

    assert made(world) == 80
    assert statuses(world) == {"succeeded": 1, "rejected": 1}


def test_foreign_nodes_are_counted(server: redis.Redis) -> None:
    def with_a_stranger() -> World:
        world = World(server, policy=limits(nodes_per_cluster=105))
        world.provider.cloud.foreign_job("ehpc-0", "jn1a", 98, "HpcClusterAddClusterNodes")
        world.clock.advance(60)
        return world

    world = one_request(server, with_a_stranger)

    assert world.provider.sendings == []
    assert statuses(world) == {"rejected": 1}


def test_a_cluster_that_cannot_be_listed_gets_nothing_under_a_limit(
    server: redis.Redis,
) -> None:
    def unknown() -> World:
        world = World(server, policy=limits(nodes_per_cluster=105))

        def refuse(zone: str, cluster_id: str) -> list[Node]:
            raise reason(2100, "ResourceNotFound")

        world.provider.cloud.nodes = refuse  # type: ignore[method-assign]
        return world

    world = one_request(server, unknown)

    assert world.provider.sendings == []
    (request,) = world.invariants.requests.values()
    assert request.status == "rejected"
    assert request.last_reason is not None
    assert request.last_reason.code == 2100


@pytest.mark.timeout(300)
def test_a_crash_at_any_point_neither_loses_nor_leaks_what_counts(server: redis.Redis) -> None:
    """At the end of each history the sums are what they are made of, and nothing is in flight."""

    def dying_at(point: int) -> World:
        tables = {"nodes_per_hour": 25, "nodes_per_cluster": 110, "nodes_in_flight_per_cluster": 20}
        policy = limits(**tables, wait=True)
        return one_request(
            server, lambda: World(server, plan=[point], policy=policy), node_count=30, deadline_s=300
        )

    point = 1
    while (world := dying_at(point)).points >= point:
        assert made(world) in (0, 20)
        assert statuses(world) == {"timed_out": 1}
        point += 1
    assert point > 40


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
