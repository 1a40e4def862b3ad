"""Many running jobs of a zone: a few pages answer for all of them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import redis

from tests.simulation.world import World

CROWD_AFTER_S = 9_000


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


def at(world: World, time: int, act: Callable[[], None]) -> None:
    """Have something happen at `time`, ms."""
    comes = world.loop.create_future()
    comes.add_done_callback(lambda _: act())
    world.timers.append((time, comes))


@pytest.mark.parametrize(("page", "pages"), [(25, 2), (40, 2), (100, 1)])
def test_one_poll_reads_as_few_pages_as_possible_and_sees_all_jobs(
    server: redis.Redis, page: int, pages: int
) -> None:
    world = follow(server, 50, page=page)

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
    polls = Counter(at for at, _ in world.provider.polls)
    assert max(polls.values()) == pages
    # Sixty seconds at one poll in five seconds, and the jobs start and end within a few.
    assert len(polls) <= 16


@pytest.mark.parametrize(
    ("jobs", "offsets"),
    [(70, {0, 25, 45}), (72, {0, 25, 47}), (75, {0, 25, 50})],
    ids=["as far as is safe", "as far as there is room", "not at all"],
)
def test_pages_that_are_read_together_overlap_if_it_takes_no_page_more(
    server: redis.Redis, jobs: int, offsets: set[int]
) -> None:
    """A job that is made meanwhile moves a row from one page into the next."""
    world = follow(server, jobs, page=25)

    by_look: dict[int, set[int]] = {}
    for at, offset in world.provider.polls:
        by_look.setdefault(at, set()).add(offset)
    assert offsets in by_look.values()
    assert max(map(len, by_look.values())) == len(offsets)


def test_a_count_that_is_too_high_is_not_taken_for_short_pages(server: redis.Redis) -> None:
    """Else sixty jobs would be read in pages of three."""

    async def history() -> World:
        world = World(server)
        world.provider.jobs_of_a_page = 100
        world.provider.counted_too_many = 1
        world.provider.options.job_duration_s = "60"
        for number in range(3):
            world.send(f"r-{number}", cluster_id=f"ehpc-{number}", node_count=1)
        at(world, world.clock.now_ms() + 20_000, lambda: send_many(world, 60))
        await world.run()
        return world

    world = asyncio.run(history())

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
    # A second one is read when a job is not in the log yet.
    assert max(Counter(at for at, _ in world.provider.polls).values()) <= 2


def test_under_a_small_quota_polls_are_spread_and_every_job_ends(server: redis.Redis) -> None:
    world = follow(server, 30, page=10, quota_calls=120)

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
    assert world.provider.quota.refused == 0


def test_an_outage_of_the_log_costs_few_calls_and_its_end_shows(
    server: redis.Redis,
) -> None:
    outage_s = 3_000

    async def history() -> None:
        world = World(server)
        world.provider.jobs_of_a_page = 10
        world.provider.options.job_duration_s = "60"
        start_offset = world.clock.now_ms() + 20_000
        ends_at = start_offset + outage_s * 1000

        def away(is_away: bool) -> None:
            world.provider.log_away_in = frozenset({"jn1a"}) if is_away else frozenset()

        for time, is_away in ((start_offset, True), (ends_at, False)):
            at(world, time, partial(away, is_away))
        for number in range(60):
            world.send(f"r-{number}", cluster_id=f"ehpc-{number}", node_count=1)
        await world.run()

        assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
        polls = sorted(at for at, _ in world.provider.polls)
        assert 0 < sum(start_offset <= at < ends_at for at in polls) < outage_s / 20
        assert max(later - at for at, later in pairwise(polls)) < 61_000

    asyncio.run(history())


def test_a_zone_without_its_log_leaves_the_others_their_calls(
    server: redis.Redis,
) -> None:
    async def history() -> None:
        world = World(server, quota_calls=100)
        world.provider.options.job_duration_s = "9000"
        world.send("old", cluster_id="ehpc-old", node_count=1, zone="blind", deadline_s=40_000)
        start_offset = world.clock.now_ms()

        def away(is_away: bool) -> None:
            world.provider.log_away_in = frozenset({"blind"}) if is_away else frozenset()

        def crowd() -> None:
            world.provider.options.job_duration_s = "60"
            send_many(world, 5)

        turns = ((60_000, partial(away, True)), (7_200_000, crowd), (10_000_000, partial(away, False)))
        for after_ms, turn in turns:
            at(world, start_offset + after_ms, turn)
        await world.run()
        sent = [sending.left_at for sending in world.provider.sendings if sending.zone == "jn1a"]
        assert len(sent) == 5
        assert max(sent) - start_offset < 7_200_000 + 600_000

    asyncio.run(history())


def test_long_running_jobs_do_not_keep_new_ones_from_being_sent(server: redis.Redis) -> None:
    """Polling may use the whole window while nothing else needs it, but not for another hour."""

    async def history() -> None:
        world = World(server, quota_calls=200)
        world.provider.jobs_of_a_page = 5
        world.provider.options.job_duration_s = "20000"
        for number in range(30):
            world.send(f"old-{number}", cluster_id=f"ehpc-old{number}", node_count=1, deadline_s=40_000)
        crowd_at = world.clock.now_ms() + CROWD_AFTER_S * 1000
        at(world, crowd_at, lambda: send_many(world, 30))
        await world.run()
        sent = sorted(sending.left_at for sending in world.provider.sendings if sending.left_at >= crowd_at)
        assert len(sent) == 30
        assert sent[0] - crowd_at < 10_000
        assert sent[-1] - crowd_at < 3_600_000
        assert world.provider.quota.refused == 0

    asyncio.run(history())


def send_many(world: World, number_of_requests: int) -> None:
    for number in range(number_of_requests):
        world.send(f"new-{number}", cluster_id=f"ehpc-new{number}", node_count=1, deadline_s=100_000)


def test_an_old_job_behind_many_is_looked_up_singly(
    server: redis.Redis,
) -> None:
    world = follow(server, 60, page=12, job_s="5-400")

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
    assert world.provider.single_lookups > 0
    pages = Counter(at for at, _ in world.provider.polls)
    # Sixty jobs are sixteen pages of a dozen rows that overlap by five.
    assert min(pages.values()) == 1


def test_jobs_behind_more_pages_than_a_poll_reads_are_still_seen(
    server: redis.Redis,
) -> None:
    async def history() -> None:
        world = World(server, quota_calls=100)
        world.provider.jobs_of_a_page = 3
        world.provider.hidden_cluster = "ehpc-old7"
        world.provider.options.job_duration_s = "4000"
        for number in range(30):
            world.send(f"old-{number}", cluster_id=f"ehpc-old{number}", node_count=1, deadline_s=100_000)
        at(world, world.clock.now_ms() + 600_000, lambda: send_many(world, 40))
        await world.run()
        *in_time, hidden = sorted(known_late_s(world))
        assert max(in_time) < 2_000
        assert hidden < 3_600, "what no listing shows is looked up, broken off as they are"
        assert world.provider.single_lookups > 0

    asyncio.run(history())


def known_late_s(world: World) -> list[float]:
    """How long after the end of its job each operation has ended."""
    return [
        (operation.finished_at - operation.job_result.ended_at) / 1000
        for operation in world.invariants.operations.values()
        if operation.job_result is not None and operation.finished_at is not None
    ]
