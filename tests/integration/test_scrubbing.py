"""The slow check of the whole ledger: lost index entries are restored, lost records are held or reported."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from pydantic import SecretStr
from structlog.testing import capture_logs

from config.settings import Settings
from tasks.contract.request import ScaleOutRequest
from tasks.ehpc.connections import Connections, open_connections
from tasks.engine.wiring import open_api, open_rate_limiter
from tasks.handlers.context import Context
from tasks.handlers.scrub_ledger import Scrub
from tasks.intake.accept import Intake
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.ledger import Ledger
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation
from tasks.runtime.clock import HandClock
from tasks.state_machine.planning import PlanRules, plan_cluster

pytestmark = pytest.mark.permanent_keys("scaleout:*")

SETTINGS = Settings(access_key_id=SecretStr("key"), secret_access_key=SecretStr("secret"))
RULES = PlanRules(coalesce_ms=0, lease_ms=45_000, probe_ms=1_000)
SCRUB = ("scaleout:scrub-cursor", "scaleout:scrub-next")


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    async with open_connections() as opened:
        yield opened


@pytest.fixture
def ctx(ledger: Ledger, connections: Connections, clock: HandClock) -> Context:
    api, limiter = open_api(SETTINGS, connections, clock), open_rate_limiter(SETTINGS, ledger)
    return Context(SETTINGS, ledger, api, limiter, clock)


@pytest.fixture
async def waiting(ledger: Ledger) -> None:
    """Two requests of one pool wait."""
    intake = Intake(ledger, coalesce_s=0.0, deadline_s=7200.0)
    for name in ("r-1", "r-2"):
        spec = {"request_id": name, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}
        await intake.accept(ScaleOutRequest.model_validate(spec), None)


async def operate(ledger: Ledger, clock: HandClock, state: State, **fields: Any) -> Operation:
    """Both are served by an operation in this state, of which no index knows."""
    snapshot = await ledger.cluster_snapshot("ehpc-a")
    plan = plan_cluster(snapshot, RULES, now=clock.now_ms(), operation_id="op-1")
    assert await ledger.commit(plan.changes) is CommitResult.OK
    planned = await ledger.operation("op-1")
    assert planned is not None
    operation = planned.model_copy(update={"state": state, **fields})
    changes = ChangeSet()
    changes.write(operation)
    for request in (await ledger.requests(["r-1", "r-2"])).values():
        changes.write(request.with_assignment(operation))
    changes.schedule(planned.due, None)
    assert await ledger.commit(changes) is CommitResult.OK
    return operation


async def scrub(ctx: Context, server: redis.Redis) -> list[str]:
    """Check everything once; return what was restored."""
    with capture_logs() as logs:
        for _ in range(3):
            server.delete("scaleout:scrub-next")
            await Scrub(ctx).step()
    return [str(entry["key"]) for entry in logs if entry["event"] == "index_restored"]


def members(server: redis.Redis, pattern: str) -> dict[str, list[str]]:
    return {str(key): sorted(map(str, server.zrange(key, 0, -1))) for key in server.keys(pattern)}


@pytest.mark.parametrize(
    "pattern", ["scaleout:open", "scaleout:demand:*", "scaleout:due:submissions", "scaleout:due:all-else"]
)
@pytest.mark.usefixtures("waiting")
async def test_an_index_of_waiting_requests_is_restored(
    ctx: Context, server: redis.Redis, pattern: str
) -> None:
    before = members(server, pattern)
    server.delete(*before)

    assert set(await scrub(ctx, server)) == set(before)

    assert members(server, pattern) == before
    assert await scrub(ctx, server) == []


@pytest.mark.usefixtures("waiting")
async def test_a_whole_ledger_is_left_as_it_is(ctx: Context, server: redis.Redis, clock: HandClock) -> None:
    await operate(ctx.ledger, clock, State.HELD)
    await scrub(ctx, server)
    before = {key: server.dump(key) for key in server.keys("*") if key not in SCRUB}

    assert await scrub(ctx, server) == []

    assert {key: server.dump(key) for key in server.keys("*") if key not in SCRUB} == before


@pytest.mark.parametrize(
    ("state", "fields", "restored"),
    [
        (State.PLANNED, {}, {"scaleout:due:submissions": "submission:op-1"}),
        (State.SUBMITTING, {}, {"scaleout:due:all-else": "operation:op-1"}),
        (State.IN_DOUBT, {}, {"scaleout:due:all-else": "operation:op-1"}),
        (
            State.RUNNING,
            {"job_id": "j-1", "sent_at": 5},
            {"scaleout:running:jn1a": "j-1 op-1", "scaleout:due:all-else": "zone:jn1a"},
        ),
        (State.HELD, {"held_reason": "why"}, {"scaleout:held": "op-1"}),
    ],
)
@pytest.mark.usefixtures("waiting")
async def test_the_index_of_each_state_is_restored(
    ctx: Context,
    server: redis.Redis,
    clock: HandClock,
    state: State,
    fields: dict[str, Any],
    restored: dict[str, str],
) -> None:
    await operate(ctx.ledger, clock, state, **fields)

    assert sorted(await scrub(ctx, server)) == sorted(restored)

    assert all(server.zscore(key, member) is not None for key, member in restored.items())


@pytest.mark.usefixtures("waiting")
async def test_a_cluster_that_forgot_its_operation_is_locked_again(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    await operate(ctx.ledger, clock, State.HELD)
    server.delete("scaleout:cluster:ehpc-a")

    await scrub(ctx, server)

    assert (await ctx.ledger.cluster("ehpc-a")).locked_by == "op-1"


@pytest.mark.usefixtures("waiting")
async def test_an_operation_whose_record_is_gone_is_held(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    await operate(ctx.ledger, clock, State.RUNNING, job_id="j-1")
    server.delete("scaleout:operation:op-1")

    await scrub(ctx, server)

    held = await ctx.ledger.operation("op-1")
    assert held is not None
    assert (held.state, held.job_id, held.node_count) == (State.HELD, "j-1", 4)
    assert held.request_ids == ("r-1", "r-2")
    assert await ctx.ledger.overview.held_operations() == ["op-1"]
    assert await ctx.ledger.lost_since() is not None
    requests = await ctx.ledger.requests(["r-1", "r-2"])
    assert all(one.live_assignments[0].state is State.HELD for one in requests.values())


@pytest.mark.usefixtures("waiting")
async def test_a_request_whose_record_is_gone_is_reported_once(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    await operate(ctx.ledger, clock, State.HELD)
    server.delete("scaleout:request:r-2")

    for _ in range(2):
        await scrub(ctx, server)

    assert await ctx.ledger.lost_since() is not None
    reported = [line for line in await ctx.ledger.overview.journal() if line["event"] == "record_missing"]
    assert [line["key"] for line in reported] == ["scaleout:request:r-2"]


@pytest.mark.usefixtures("waiting")
async def test_one_worker_at_a_time_checks_a_part(ctx: Context, server: redis.Redis) -> None:
    server.delete("scaleout:open")
    await Scrub(ctx).step()
    server.delete("scaleout:open")

    await Scrub(ctx).step()

    assert server.exists("scaleout:open") == 0
