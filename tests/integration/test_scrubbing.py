"""The slow check of the whole ledger: lost index entries are restored, lost records are held or reported."""

from collections import deque
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from config.policy.model import Schedule
from config.timestamps import milliseconds, timestamp
from tasks.contract.request import ScaleOutRequest
from tasks.handlers.context import Context
from tasks.handlers.scrub_ledger import Pace, Scrub
from tasks.intake.accept import Intake
from tasks.ledger.change_entries import Index, Listed, ScheduleInForce
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.due import Due, DueKind
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import Pause
from tasks.ledger.record_values import State
from tasks.ledger.records import Cluster, Operation
from tasks.ledger.schedules import ScheduleRecord
from tasks.runtime.clock import HandClock
from tasks.state_machine.planning import PlanRules, plan_cluster
from tasks.state_machine.request_outcome import end_request

pytestmark = pytest.mark.permanent_keys("scaleout:*")

RULES = PlanRules(coalesce_ms=0, lease_ms=45_000, probe_ms=1_000)
SCRUB = ("scaleout:scrub-cursor", "scaleout:scrub-next")


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
    """Check everything twice, a minute apart; return what was restored."""
    with capture_logs() as logs:
        checks = Scrub(ctx)
        for _ in range(4):
            await checks.step()
            assert isinstance(ctx.clock, HandClock)
            ctx.clock.advance(20)
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


@pytest.mark.parametrize("pattern", ["scaleout:open", "scaleout:due:submissions", "scaleout:due:all-else"])
@pytest.mark.usefixtures("waiting")
async def test_what_is_lost_is_restored_soon_by_one_of_many_workers(
    ctx: Context, server: redis.Redis, clock: HandClock, pattern: str
) -> None:
    """Each of them has the next turn late: the one that has found it missing looks again out of turn."""
    pause = Pause(scope="ehpc-a", paused=True, until=clock.now_ms() + 3_600_000)
    changes = ChangeSet()
    changes.write(pause)
    changes.add(Listed(Index.PAUSED, pause.scope, clock.now_ms()))
    changes.schedule(pause.due, pause.until)
    assert await ctx.ledger.commit(changes) is CommitResult.OK
    before = members(server, pattern)
    server.delete(*before)
    workers = deque(Scrub(ctx, Pace(due_ms=0)) for _ in range(20))

    for _ in range(3):
        for worker in workers:
            await worker.step()
        workers.rotate(1)
        clock.advance(6)

    assert members(server, pattern) == before


@pytest.mark.usefixtures("waiting")
async def test_an_entry_that_several_requests_need_is_restored(ctx: Context, server: redis.Redis) -> None:
    server.hincrby("scaleout:request:r-2", "version", 1)
    server.delete("scaleout:due:submissions")

    assert await scrub(ctx, server) == ["scaleout:due:submissions"]


@pytest.mark.usefixtures("waiting")
async def test_a_slow_check_restores_nothing_that_was_not_lost(
    ctx: Context, server: redis.Redis, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.zrem("scaleout:due:submissions", "cluster:ehpc-a")

    async def slow_cluster(ledger: Ledger, cluster_id: str) -> Cluster:
        """Arrives long after the entry was looked for, which has come meanwhile."""
        clock.advance(6)
        server.zadd("scaleout:due:submissions", {"cluster:ehpc-a": clock.now_ms()})
        return await read_cluster(ledger, cluster_id)

    read_cluster = Ledger.cluster
    monkeypatch.setattr(Ledger, "cluster", slow_cluster)

    assert await scrub(ctx, server) == []


async def test_a_look_that_began_too_early_is_no_second_one(
    ctx: Context, ledger: Ledger, server: redis.Redis, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found no entry, which has come before its slow reading of the records was over."""
    spec = {"request_id": "r-1", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}
    intake = Intake(ledger, coalesce_s=0.0, deadline_s=7200.0)
    await intake.accept(ScaleOutRequest.model_validate(spec), None)

    async def slow_cluster(ledger: Ledger, cluster_id: str) -> Cluster:
        clock.advance(6)
        return await read_cluster(ledger, cluster_id)

    read_cluster = Ledger.cluster
    monkeypatch.setattr(Ledger, "cluster", slow_cluster)
    checks = Scrub(ctx, Pace(5_000, 0, 5_000))
    server.zrem("scaleout:due:submissions", "cluster:ehpc-a")
    with capture_logs() as logs:
        await checks.step()
        server.hincrby("scaleout:request:r-1", "version", 1)
        clock.advance(6)
        # It looks again, by the record's new version, and then at the next records: the same one.
        await checks.step()

    assert "index_restored" not in {entry["event"] for entry in logs}


@pytest.mark.usefixtures("waiting")
async def test_requests_past_their_deadline_need_no_plan(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    clock.advance(7_300)
    server.delete("scaleout:due:submissions")

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
    accepted_at = clock.now_ms()
    await operate(ctx.ledger, clock, State.RUNNING, job_id="j-1")
    server.delete("scaleout:operation:op-1")
    clock.advance(60)

    await scrub(ctx, server)

    held = await ctx.ledger.operation("op-1")
    assert held is not None
    assert (held.state, held.job_id, held.node_count) == (State.HELD, "j-1", 4)
    assert held.request_ids == ("r-1", "r-2")
    assert held.planned_at == accepted_at
    assert await ctx.ledger.overview.held_operations() == ["op-1"]
    assert await ctx.ledger.lost_since() is not None
    requests = await ctx.ledger.requests(["r-1", "r-2"])
    assert all(one.live_assignments[0].state is State.HELD for one in requests.values())


@pytest.mark.usefixtures("waiting")
async def test_so_is_one_whose_requests_have_ended_at_their_deadline(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    await operate(ctx.ledger, clock, State.RUNNING, job_id="j-1")
    changes = ChangeSet()
    for request in (await ctx.ledger.requests(["r-1", "r-2"])).values():
        end_request(changes, request, "timed_out", clock.now_ms())
    await ctx.ledger.commit(changes)
    # They have been checked before, and may change all the same.
    await scrub(ctx, server)
    server.delete("scaleout:operation:op-1")

    await scrub(ctx, server)

    assert await ctx.ledger.overview.held_operations() == ["op-1"]


@pytest.mark.parametrize("key", ["schedule:s", "cluster:ehpc-a", "pause:everything"])
@pytest.mark.usefixtures("waiting")
async def test_a_record_that_cannot_be_read_keeps_no_other_from_being_checked(
    ctx: Context, server: redis.Redis, key: str
) -> None:
    server.hset(f"scaleout:{key}", mapping={"version": 1, "content": "[]"})
    server.sadd("scaleout:schedules", "s")
    server.zadd("scaleout:paused", {"everything": 1})
    server.delete("scaleout:open", "scaleout:due:submissions")

    assert "scaleout:open" in await scrub(ctx, server)

    assert server.zcard("scaleout:open") == 2


@pytest.mark.usefixtures("waiting")
async def test_a_report_that_was_not_written_is_made_again(
    ctx: Context, server: redis.Redis, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await operate(ctx.ledger, clock, State.HELD)
    server.delete("scaleout:request:r-2")

    async def dies() -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(ctx.ledger, "mark_data_lost", dies)
        with pytest.raises(ConnectionError):
            await scrub(ctx, server)
    await scrub(ctx, server)

    assert await ctx.ledger.lost_since() is not None


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


def scores(found: Any) -> dict[str, float]:
    return dict(found)


async def test_an_outbox_that_nothing_brings_up_is_published(ctx: Context, server: redis.Redis) -> None:
    server.zadd("scaleout:outbox", {"task-1 r-1": 1})

    await scrub(ctx, server)

    assert server.zscore("scaleout:due:all-else", "outbox:all") is not None


@pytest.mark.parametrize("last_handled", [0, 4_000_000_000_000])
async def test_schedules_and_pauses_with_something_to_come_are_due_again(
    ctx: Context, server: redis.Redis, clock: HandClock, last_handled: int
) -> None:
    fields = {"name": "s", "cron": "0 19 1 1 *", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
    schedule = Schedule.model_validate({**fields, "timezone": "UTC", "not_after": "2040-01-01"})
    changes = ChangeSet()
    changes.write(ScheduleRecord(name="s", schedule=schedule, epoch="e", last_handled=last_handled))
    changes.add(ScheduleInForce("s", True), Listed(Index.PAUSED, "everything", 1))
    until = clock.now_ms() + 1 if last_handled == 0 else None
    changes.write(Pause(scope="everything", paused=True, until=until))
    await ctx.ledger.commit(changes)

    await scrub(ctx, server)

    due = set(map(str, server.zrange("scaleout:due:all-else", 0, -1)))
    assert due == ({"schedule:s", "pause:everything"} if last_handled == 0 else set())


async def test_entries_further_ahead_than_anything_may_be_are_pulled_in(
    ctx: Context, server: redis.Redis, clock: HandClock
) -> None:
    """The server's clock was 25 hours ahead, and was set back after all workers had ended."""
    now, day = clock.now_ms(), 86_400_000
    entries = {"zone:jn1a": now + 25 * 3_600_000, "operation:op-1": now + day, "zone:near": now + 60_000}
    server.zadd("scaleout:due:all-else", {**entries, "schedule:yearly": now + 300 * day})
    server.zadd("scaleout:due:submissions", {"cluster:a": now + 2 * day, "cluster:b": now + day})

    await scrub(ctx, server)

    found = scores(server.zrange("scaleout:due:all-else", 0, -1, withscores=True))
    assert found["zone:jn1a"] == found["operation:op-1"] == now
    assert (found["zone:near"], found["schedule:yearly"]) == (now + 60_000, now + 300 * day)
    found = scores(server.zrange("scaleout:due:submissions", 0, -1, withscores=True))
    assert found == {"cluster:a": now, "cluster:b": now + day}


async def test_what_its_producer_wants_later_is_not_pulled_in(
    ctx: Context, ledger: Ledger, server: redis.Redis
) -> None:
    spec = {"request_id": "later", "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
    later = timestamp(ctx.clock.now_ms() + 3 * 86_400_000)
    intake = Intake(ledger, coalesce_s=0.0, deadline_s=7200.0)
    await intake.accept(ScaleOutRequest.model_validate({**spec, "not_before": later}), None)
    before = members(server, "scaleout:due:submissions")

    assert await scrub(ctx, server) == []

    assert members(server, "scaleout:due:submissions") == before
    assert (
        milliseconds(later)
        == scores(server.zrange("scaleout:due:submissions", 0, -1, withscores=True))["cluster:ehpc-a"]
    )


@pytest.mark.usefixtures("waiting")
async def test_a_lock_of_an_operation_that_nothing_knows_is_released(
    ctx: Context, ledger: Ledger, server: redis.Redis
) -> None:
    """A copy was made while a worker planned: it has the lock, and neither operation nor assignment."""
    changes = ChangeSet()
    changes.write((await ledger.cluster("ehpc-a")).model_copy(update={"locked_by": "op-gone"}))
    changes.schedule(Due(DueKind.CLUSTER, "ehpc-a"), None)
    await ledger.commit(changes)

    await scrub(ctx, server)

    assert (await ledger.cluster("ehpc-a")).locked_by is None
    assert members(server, "scaleout:due:submissions") == {"scaleout:due:submissions": ["cluster:ehpc-a"]}
    assert await ledger.lost_since() is not None
