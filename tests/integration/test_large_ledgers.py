"""What steps cost beside many requests: Redis commands are counted, those inside scripts too."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Queue

from benchmarks.large_ledger import fill, fill_pools
from tasks.contract.request import ScaleOutRequest
from tasks.handlers.context import Context
from tasks.handlers.plan_cluster import POOLS_AT_ONCE, fit_to_policy, read_cluster
from tasks.handlers.scrub_ledger import Scrub
from tasks.intake.accept import Intake
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.due import Due, DueKind
from tasks.ledger.ended_index import EndedIndexRepair, is_complete, narrowest_index
from tasks.ledger.ledger import LOOK_EVERY_MS, Ledger
from tasks.runtime.clock import HandClock
from tests.support.command_line import scaleout
from tests.support.processes import environment
from workers.broker import transport

pytestmark = pytest.mark.permanent_keys("scaleout:*", "_kombu*")

ENDED, CLUSTERS = 600, 200
MINUTE_S = 60


@pytest.fixture
def env(redis_url: str) -> dict[str, str]:
    return environment(redis_url, "http://127.0.0.1:1/api")


def commands(server: redis.Redis) -> int:
    """Return how many commands the server has done since the last reset."""
    rows: Any = server.info("commandstats")
    return sum(int(row["calls"]) for name, row in rows.items() if name != "cmdstat_config|resetstat")


async def counted(server: redis.Redis, do: Callable[[], Awaitable[object]]) -> int:
    server.config_resetstat()
    await do()
    return commands(server)


@pytest.mark.parametrize("ended", [0, ENDED])
async def test_a_worker_with_nothing_to_do_ticks_with_few_commands(
    ctx: Context, server: redis.Redis, clock: HandClock, ended: int
) -> None:
    fill(server, ended=ended, clusters=CLUSTERS)
    scrub = Scrub(ctx)

    async def minute() -> None:
        for _ in range(MINUTE_S):
            await ctx.ledger.tick(10.0, "one")
            await scrub.step()
            clock.advance(1)

    await minute()

    # The broker takes another one a second.
    assert await counted(server, minute) <= 3.5 * MINUTE_S


def test_a_consumer_without_messages_sends_few_commands(redis_url: str, server: redis.Redis) -> None:
    transport.install()
    with Connection(redis_url, transport_options={"unacked_restore_interval": 1}) as connection:
        queues = [Queue("one"), Queue("two")]
        with Consumer(connection.default_channel, queues, on_message=lambda _: None):
            _drain(connection, 4)
            server.config_resetstat()
            _drain(connection, 6)
            assert commands(server) <= 8


def _drain(connection: Connection, seconds: int) -> None:
    for _ in range(seconds):
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=1)


async def test_a_tick_sees_what_another_worker_schedules(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    await ledger.commit(ChangeSet())
    assert await ledger.tick(10.0, "one") is False
    assert await ledger.tick(10.0, "one") is None
    changes = ChangeSet()
    changes.schedule(Due(DueKind.CLUSTER, "ehpc-a"), clock.now_ms())
    other = Ledger(ledger.redis, ledger.keys, clock, outcome_ttl_s=604_800, stream_maxlen=1_000)
    await other.commit(changes)

    assert await ledger.tick(10.0, "one") is True


async def test_a_tick_sees_in_time_what_was_seen_earlier(ledger: Ledger, clock: HandClock) -> None:
    changes = ChangeSet()
    changes.schedule(Due(DueKind.CLUSTER, "ehpc-a"), clock.now_ms() + 3_000)
    await ledger.commit(changes)
    assert await ledger.tick(10.0, "one") is False
    clock.advance(2)
    assert await ledger.tick(10.0, "one") is None
    clock.advance(1)

    assert await ledger.tick(10.0, "one") is True


async def test_a_tick_looks_now_and_then_for_what_moves_no_count(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    await ledger.commit(ChangeSet())
    await ledger.tick(10.0, "one")
    server.zadd("scaleout:due:all-else", {"zone:jn1a": clock.now_ms()})
    assert await ledger.tick(10.0, "one") is None
    clock.advance(LOOK_EVERY_MS / 1000)

    assert await ledger.tick(10.0, "one") is True


async def test_a_tick_marks_a_ledger_whose_steps_are_gone(ledger: Ledger, server: redis.Redis) -> None:
    for _ in range(2):
        await ledger.commit(ChangeSet())
    await ledger.tick(10.0, "one")
    server.delete("scaleout:steps")
    server.hset("scaleout:epoch", "count", 1)

    await ledger.tick(10.0, "one")

    assert await ledger.lost_since() is not None


async def test_history_of_a_cluster_reads_that_cluster_only(env: dict[str, str], server: redis.Redis) -> None:
    fill(server, ended=ENDED, clusters=CLUSTERS)

    server.config_resetstat()
    found = scaleout(env, "history", "--cluster", "ehpc-large00007", "--json").json()

    assert commands(server) < 50
    assert [entry["request_id"] for entry in found] == ["old-000007", "old-000207", "old-000407"]
    assert scaleout(env, "history", "--status", "failed", "--json").json() == []


async def test_what_an_earlier_version_ended_is_found_and_indexed(
    env: dict[str, str], ledger: Ledger, server: redis.Redis
) -> None:
    fill(server, ended=ENDED, clusters=CLUSTERS)
    server.delete(*server.keys("scaleout:ended-of:*"))
    wanted = {"cluster_id": "ehpc-large00007", "requested_by": None, "status": None}

    assert await narrowest_index(ledger, **wanted) == ledger.keys.ended
    found = scaleout(env, "history", "--cluster", "ehpc-large00007", "--json").json()
    assert len(found) == ENDED // CLUSTERS

    repair = EndedIndexRepair(ledger)
    for _ in range(4):
        await repair.step()
    assert await is_complete(ledger)
    index = await narrowest_index(ledger, **wanted)
    assert index == "scaleout:ended-of:cluster:ehpc-large00007"
    assert server.zcard(index) == ENDED // CLUSTERS


async def test_a_plan_costs_the_same_beside_many_pools(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    costs = []
    for pools in (2 * POOLS_AT_ONCE, 6 * POOLS_AT_ONCE):
        fill_pools(server, pools, clock.now_ms())

        async def plan() -> None:
            found = await fit_to_policy(ctx, await read_cluster(ctx, "ehpc-pools"))
            assert found.operation is not None
            assert found.operation.request_ids == ("pool-000000",)

        await plan()  # the server knows the script from now on
        costs.append(await counted(server, plan))

    assert costs[0] == costs[1]


async def test_pools_that_an_earlier_version_wrote_are_planned(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    fill_pools(server, 2 * POOLS_AT_ONCE, clock.now_ms())
    server.zrem("scaleout:heads:ehpc-pools", *server.zrange("scaleout:heads:ehpc-pools", 0, 9))

    found = await fit_to_policy(ctx, await read_cluster(ctx, "ehpc-pools"))

    assert found.operation is not None
    assert found.operation.request_ids == ("pool-000000",)
    assert server.zcard("scaleout:heads:ehpc-pools") == 2 * POOLS_AT_ONCE


async def test_a_ready_pool_behind_many_that_wait_is_planned(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    intake = Intake(ctx.ledger, coalesce_s=0.0, deadline_s=7200.0)
    for number in range(2 * POOLS_AT_ONCE):
        later = None if number == 2 * POOLS_AT_ONCE - 1 else "2023-11-14T23:00:00Z"
        spec = {"request_id": f"r-{number}", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}
        more = {"resource_conf": {"cpu": number + 1}, "not_before": later}
        await intake.accept(ScaleOutRequest.model_validate({**spec, **more}), None)
        clock.advance(0.001)
    clock.advance(2)

    found = await fit_to_policy(ctx, await read_cluster(ctx, "ehpc-a"))

    assert found.operation is not None
    assert found.operation.request_ids == (f"r-{2 * POOLS_AT_ONCE - 1}",)


async def test_the_slow_check_reads_what_has_ended_once(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    fill(server, ended=ENDED, clusters=CLUSTERS)
    server.delete("scaleout:settled")

    async def check() -> None:
        scrub = Scrub(ctx)
        for _ in range(6):
            await scrub.step()
            clock.advance(20)

    first, second = await counted(server, check), await counted(server, check)

    assert first > 2 * ENDED
    assert second < 150


async def test_stats_show_the_pools_used_last(env: dict[str, str], server: redis.Redis) -> None:
    fill(server, ended=CLUSTERS, clusters=CLUSTERS)

    done = scaleout(env, "stats", "--json")

    assert len(done.json()) == 100
    assert done.json()[0]["cluster_id"] == "ehpc-large00000"
    assert "the 100 pools used last of 200 are shown" in done.err
    assert len(scaleout(env, "stats", "--limit", "1000", "--json").json()) == CLUSTERS
