"""Many running jobs of a zone: a few pages answer for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
import redis

from tests.simulation.world import World


def follow(server: redis.Redis, jobs: int, *, page: int, quota_calls: int = 2000, job_s: str = "60") -> World:
    async def history() -> World:
        world = World(server, quota_calls=quota_calls)
        world.provider.jobs_of_a_page = page
        world.provider.options.job_duration_s = job_s
        for number in range(jobs):
            world.send(f"r-{number}", cluster_id=f"ehpc-{number}", node_count=1)
        await world.run()
        return world

    return asyncio.run(history())


@pytest.mark.parametrize(("page", "pages"), [(25, 3), (40, 2), (100, 1)])
def test_one_look_takes_as_few_pages_as_there_are_and_all_jobs_are_seen(
    server: redis.Redis, page: int, pages: int
) -> None:
    world = follow(server, 50, page=page)

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
    looks = Counter(at for at, _ in world.provider.looks)
    assert max(looks.values()) == pages
    # Sixty seconds at one look in five seconds, and the jobs start and end within a few.
    assert len(looks) <= 16


def test_pages_overlap_so_that_a_job_made_meanwhile_hides_none(server: redis.Redis) -> None:
    world = follow(server, 50, page=25)

    assert {offset for _, offset in world.provider.looks} == {0, 20, 40}


def test_under_a_small_quota_looks_are_spread_and_every_job_comes_to_its_end(server: redis.Redis) -> None:
    world = follow(server, 30, page=10, quota_calls=120)

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
    assert world.provider.quota.refused == 0


def test_an_old_job_behind_many_that_have_ended_is_looked_up_singly_sooner_than_read_for(
    server: redis.Redis,
) -> None:
    world = follow(server, 60, page=12, job_s="5-400")

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
    assert world.provider.single_lookups > 0
    pages = Counter(at for at, _ in world.provider.looks)
    # Sixty jobs are sixteen pages of a dozen rows that overlap by five.
    assert min(pages.values()) == 1
