"""After a restart or failover of Redis: what the operation log has and the ledger has not."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
import redis
from pydantic import SecretStr

from config.settings import Settings
from tasks.ehpc.listing import Listing
from tasks.ehpc.models import JobRow, Page
from tasks.handlers.context import Context
from tasks.handlers.lost_calls import (
    MARGIN_MS,
    blocked_by_ledger,
    check_for_lost_calls,
    lost_calls_since,
)
from tasks.handlers.provider_calls import Deferred
from tasks.ledger.change_entries import OwnJob
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.ledger import Ledger, ServerChange
from tasks.ledger.records import Zone
from tasks.runtime.clock import HandClock
from tests.support.records import operation, with_entries

OPERATION = operation()
SETTINGS = Settings(access_key_id=SecretStr("id"), secret_access_key=SecretStr("key"))


@pytest.fixture
def ctx(ledger: Ledger, clock: HandClock) -> Context:
    """The server was replaced ten seconds after the last tick that it has, and has settled since."""
    nothing = cast("Any", None)
    ledger.settle_ms = 100_000
    ledger.server_change = ServerChange(at=clock.now_ms(), since=clock.now_ms() - 10_000)
    clock.advance(200)
    return Context(SETTINGS, ledger, nothing, nothing, clock)


def change_of(ctx: Context) -> ServerChange:
    assert ctx.ledger.server_change is not None
    return ctx.ledger.server_change


def listing(*rows: JobRow, unreadable: int = 0) -> Listing[JobRow]:
    found = Listing[JobRow]()
    found.add(Page(rows, unreadable=unreadable, total=len(rows) + unreadable))
    return found


def job(at_ms: int | None, action: str = SETTINGS.add_nodes_job_action) -> JobRow:
    created = None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)
    return JobRow(job_id="j-1", job_action=action, create_time=created)


@pytest.mark.parametrize("after_ms", [-5_000, 0, 99_000, None])
async def test_a_job_from_around_the_change_without_operation_marks_the_ledger(
    ctx: Context, after_ms: int | None
) -> None:
    at = None if after_ms is None else change_of(ctx).at + after_ms

    with pytest.raises(Deferred, match="data is missing"):
        await check_for_lost_calls(ctx, OPERATION, listing(job(at)))

    assert await ctx.ledger.lost_since() is not None
    (line,) = await ctx.ledger.overview.journal()
    assert (line["event"], line["job_ids"]) == ("jobs_without_operation", ["j-1"])


@pytest.mark.parametrize(("after_ms", "action"), [(-60_000, None), (150_000, None), (0, "Other")])
async def test_a_foreign_job_of_another_time_or_kind_says_nothing(
    ctx: Context, after_ms: int, action: str | None
) -> None:
    row = job(change_of(ctx).at + after_ms, action or SETTINGS.add_nodes_job_action)
    changes = ChangeSet()
    changes.write(Zone(zone=OPERATION.zone, action_seen=True))
    await ctx.ledger.commit(changes)

    await check_for_lost_calls(ctx, OPERATION, listing(row))

    assert await ctx.ledger.lost_since() is None


async def test_a_name_that_the_log_has_never_shown_excludes_no_job(ctx: Context) -> None:
    with pytest.raises(Deferred, match="data is missing"):
        await check_for_lost_calls(ctx, OPERATION, listing(job(change_of(ctx).at, "HpcAddNodes")))

    assert await ctx.ledger.lost_since() is not None


async def test_a_cluster_is_checked_once_by_a_process_and_after_each_change(ctx: Context) -> None:
    cluster_id, change = OPERATION.cluster_id, change_of(ctx)
    assert lost_calls_since(ctx, cluster_id) == change.since - MARGIN_MS
    await ctx.ledger.commit(with_entries(OwnJob(cluster_id, "j-1", "op-9", 5, 0)))

    await check_for_lost_calls(ctx, OPERATION, listing(job(change.at)))

    assert lost_calls_since(ctx, cluster_id) is None
    assert lost_calls_since(ctx, "ehpc-other") is not None
    ctx.ledger.server_change = ServerChange(at=change.at + 1_000, since=change.since)
    assert lost_calls_since(ctx, cluster_id) is not None


async def test_a_listing_that_is_no_proof_is_no_check(ctx: Context) -> None:
    await check_for_lost_calls(ctx, OPERATION, listing(unreadable=1))

    assert lost_calls_since(ctx, OPERATION.cluster_id) is not None


async def test_a_ledger_that_lost_data_costs_no_calls(ctx: Context, clock: HandClock) -> None:
    assert blocked_by_ledger(ctx) is None
    await ctx.ledger.mark_data_lost()
    await ctx.ledger.request_sweep(1.0, "one")

    blocked = blocked_by_ledger(ctx)

    assert blocked is not None
    assert (blocked.reason.kind, blocked.until) == ("ledger", clock.now_ms() + 10_000)
    await ctx.ledger.acknowledge_data_loss()
    await ctx.ledger.request_sweep(1.0, "one")
    ctx.ledger.server_change = None
    assert blocked_by_ledger(ctx) is None


async def test_an_acknowledged_loss_does_not_end_the_search_for_lost_calls(
    ctx: Context, server: redis.Redis
) -> None:
    """The call of an operation that is planned again is found before that is sent."""
    server.hset("scaleout:epoch", "server", "0" * 40)
    ctx.ledger.server_change = None
    await ctx.ledger.request_sweep(1.0, "one")
    await ctx.ledger.mark_data_lost()

    await ctx.ledger.acknowledge_data_loss()
    await ctx.ledger.request_sweep(1.0, "one")

    assert await ctx.ledger.lost_since() is None
    assert lost_calls_since(ctx, OPERATION.cluster_id) is not None


async def test_a_job_from_between_two_failovers_says_nothing(ctx: Context, clock: HandClock) -> None:
    at = clock.now_ms()
    ctx.ledger.server_change = ServerChange(at, at - 10_000, earlier=((at - 20_000_000, at - 19_990_000),))
    changes = ChangeSet()
    changes.write(Zone(zone=OPERATION.zone, action_seen=True))
    await ctx.ledger.commit(changes)

    await check_for_lost_calls(ctx, OPERATION, listing(job(at - 10_000_000)))

    assert await ctx.ledger.lost_since() is None
    ctx.checked_clusters.clear()
    with pytest.raises(Deferred, match="data is missing"):
        await check_for_lost_calls(ctx, OPERATION, listing(job(at - 19_995_000)))


async def test_a_copy_of_long_ago_widens_no_later_search(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    ctx.ledger.server_change = None
    server.hset("scaleout:epoch", mapping={"imported": clock.now_ms(), "lost": 1})
    await ctx.ledger.acknowledge_data_loss()
    clock.advance(60 * 86_400)
    await ctx.ledger.mark_data_lost()

    await ctx.ledger.acknowledge_data_loss()
    await ctx.ledger.request_sweep(1.0, "one")

    assert lost_calls_since(ctx, OPERATION.cluster_id) is None
