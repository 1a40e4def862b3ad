"""Schedules in the ledger, step by step, on a clock that the test moves."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr
from redis.asyncio import Redis
from structlog.testing import capture_logs

from config.policy.file import PolicyFile
from config.settings import Settings
from tasks.contract.policy_file import request_problems
from tasks.contract.request import ScaleOutRequest
from tasks.ehpc.connections import Connections, open_connections
from tasks.engine.wiring import open_api, open_rate_limiter
from tasks.handlers.context import Context
from tasks.intake.accept import Intake
from tasks.ledger.change_entries import KeepDuration
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.due import Due, DueKind, Lane
from tasks.ledger.durations import Duration
from tasks.ledger.ledger import Ledger
from tasks.ledger.pools import Pool, pool_of
from tasks.runtime.clock import HandClock
from tasks.schedules.build_request import build_request
from tasks.schedules.fire import MAX_STEPS, OTHER_FILE_RETRY_MS, fire_schedule
from tasks.schedules.node_count import Count, NodeListing
from tasks.schedules.sync import ScheduleSync
from tasks.schedules.timetable import RECHECK_MS
from tests.support.records import with_entries

# Monday, 12:00 in Shanghai.
NOON = int(datetime(2026, 11, 23, 4, tzinfo=UTC).timestamp() * 1000)
SEVEN = "20261123T110000Z"
DUE = Due(DueKind.SCHEDULE, "s")
SETTINGS = Settings(
    access_key_id=SecretStr("key"),
    secret_access_key=SecretStr("secret"),
    # Nobody is there: what has to be listed cannot be.
    api_url="http://127.0.0.1:1/api",
    request_deadline_s=3600,
)


class Worker:
    """One process with a policy file of its own."""

    def __init__(self, ledger: Ledger, connections: Connections, clock: HandClock, path: Path | None) -> None:
        policy = PolicyFile(path, request_problems, lambda: clock.now_ms() / 1000)
        self.ctx = Context(
            SETTINGS,
            ledger,
            open_api(SETTINGS, connections, clock),
            open_rate_limiter(SETTINGS, ledger),
            clock,
            policy=policy,
        )
        self.schedule_sync = ScheduleSync(self.ctx, policy)
        self.ledger = ledger
        self.clock = clock

    async def sync(self) -> None:
        """As two ticks a second apart do, for a file that has just changed."""
        for _ in range(3):
            self.clock.advance(1)
            await self.schedule_sync.sync()

    async def sweep(self) -> list[str]:
        """Fire the schedule `s` if it is due; the events that this led to."""
        entries = await self.ledger.claim_due(Lane.ALL_ELSE, 100, 45)
        with capture_logs() as logs:
            if DUE in entries:
                await fire_schedule(self.ctx, "s")
        return [entry["event"] for entry in logs if entry["event"].startswith("schedule_")]


Write = Callable[..., Path]
Start = Callable[..., Worker]


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOON)


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    async with open_connections() as opened:
        yield opened


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file with the schedule `s`: each evening at seven in Shanghai, two nodes."""

    def write(file: str = "policy.toml", **changed: str) -> Path:
        keys = {
            "name": '"s"',
            "cron": '"0 19 * * *"',
            "timezone": '"Asia/Shanghai"',
            "cluster_id": '"ehpc-a"',
            "zone": '"jn1a"',
            "node_count": "2",
            **changed,
        }
        path = tmp_path / file
        new = path.with_suffix(".new")
        new.write_text("[[schedule]]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items()))
        new.replace(path)
        return path

    return write


@pytest.fixture
def start(
    async_redis: Redis, connections: Connections, clock: HandClock, ledger: Ledger
) -> Callable[..., Worker]:
    """Starts another worker on the same server."""

    def start(path: Path | None) -> Worker:
        own = Ledger(async_redis, ledger.keys, clock, outcome_ttl_s=604_800, stream_maxlen=1_000)
        return Worker(own, connections, clock, path)

    return start


def at(clock: HandClock, text: str) -> None:
    """Set the clock to a time of the 23rd, or to a date and time, in UTC."""
    day = "" if len(text) > 8 else "2026-11-23T"
    clock.advance(
        datetime.fromisoformat(f"{day}{text}").replace(tzinfo=UTC).timestamp() - clock.now_ms() / 1000
    )


def requests(server: redis.Redis) -> list[str]:
    keys = map(str, server.keys("scaleout:request:schedule:*"))
    return sorted(key.removeprefix("scaleout:request:schedule:s:") for key in keys)


def record(server: redis.Redis) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(str(server.hget("scaleout:schedule:s", "content")))
    return content


def due_at(server: redis.Redis) -> str | None:
    score: Any = server.zscore("scaleout:due:all-else", str(DUE))
    return None if score is None else f"{datetime.fromtimestamp(score / 1000, UTC):%H:%M:%S}"


async def test_an_occurrence_makes_its_request_and_the_next_is_waited_for(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.sync()
    assert await worker.sweep() == []
    assert due_at(server) == "11:00:00"
    at(clock, "10:59:59")
    assert await worker.sweep() == []
    at(clock, "11:00:00")
    assert await worker.sweep() == ["schedule_fired"]

    assert requests(server) == [SEVEN]
    request = await worker.ledger.request(f"schedule:s:{SEVEN}")
    assert request is not None
    assert request.valid_spec.requested_by == "schedule:s"
    assert request.deadline_at == clock.now_ms() + 3_600_000
    assert (due_at(server), record(server)["last"]["result"]) == ("11:00:00", "requested")
    assert await worker.sweep() == []


async def test_of_two_workers_that_fire_at_once_one_makes_the_request(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    one, other = start(write()), start(write())
    await one.sync()
    await other.sync()
    at(clock, "11:00:00")

    await fire_schedule(one.ctx, "s")
    await fire_schedule(other.ctx, "s")

    assert requests(server) == [SEVEN]
    assert server.hget(f"scaleout:request:schedule:s:{SEVEN}", "version") == "1"
    ((_, waiting),) = (await one.ledger.cluster_snapshot("ehpc-a")).waiting.items()
    assert [request.request_id for request in waiting] == [f"schedule:s:{SEVEN}"]


async def test_a_clock_that_is_set_back_fires_nothing_again(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.sync()
    at(clock, "11:00:00")
    assert await worker.sweep() == ["schedule_fired"]
    at(clock, "10:58:00")
    again = start(write())
    await again.sync()
    for time in ("10:59:00", "11:00:00", "11:00:30"):
        at(clock, time)
        assert await again.sweep() == []

    assert requests(server) == [SEVEN]


async def test_an_occurrence_whose_request_exists_makes_no_second_one(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.sync()
    at(clock, "11:00:00")
    assert await worker.sweep() == ["schedule_fired"]
    # As after a restored backup: the record has forgotten the occurrence, the request has not.
    earlier = record(server) | {"last_handled": NOON}
    server.hset("scaleout:schedule:s", mapping={"content": json.dumps(earlier)})
    server.zadd("scaleout:due:all-else", {str(DUE): clock.now_ms()})

    assert await worker.sweep() == ["schedule_fired"]

    assert server.hget(f"scaleout:request:schedule:s:{SEVEN}", "version") == "1"
    assert server.llen(f"scaleout:history:schedule:s:{SEVEN}") == 3
    assert record(server)["last_handled"] > NOON


async def test_a_missed_occurrence_is_caught_up_while_it_is_recent(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    await start(write(catch_up_s="1800")).sync()
    at(clock, "11:29:59")

    assert await start(write(catch_up_s="1800")).sweep() == ["schedule_fired"]
    assert requests(server) == [SEVEN]


async def test_a_missed_occurrence_that_is_too_old_is_only_reported(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    await start(write(catch_up_s="1800")).sync()
    at(clock, "11:30:00")

    assert await start(write(catch_up_s="1800")).sweep() == ["schedule_missed"]
    assert requests(server) == []
    last = record(server)["last"]
    assert (last["result"], last["missed"]) == ("missed", 1)
    assert last["occurrence"] == int(datetime(2026, 11, 23, 11, tzinfo=UTC).timestamp() * 1000)


async def test_after_a_long_absence_only_recent_occurrences_are_caught_up(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    every_minute = {"cron": '"* * * * *"', "catch_up_s": "300"}
    await start(write(**every_minute)).sync()
    at(clock, "2027-11-23T04:00:30")

    events = await start(write(**every_minute)).sweep()

    assert events == ["schedule_missed", *["schedule_fired"] * 5]
    assert requests(server) == [f"20271123T{time}00Z" for time in ("0356", "0357", "0358", "0359", "0400")]


async def test_very_many_occurrences_take_more_than_one_sweep(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    every_minute = {"cron": '"* * * * *"', "catch_up_s": "86400"}
    worker = start(write(**every_minute))
    await worker.sync()
    at(clock, "06:00:30")

    assert len(await worker.sweep()) == MAX_STEPS
    while await worker.sweep():
        pass
    assert len(requests(server)) == 120


async def test_nodes_needed_by_a_time_are_requested_a_lead_time_before(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write(ready_by="true", lead_time='"fixed"', lead_time_s="900"))
    await worker.sync()
    await worker.sweep()
    assert due_at(server) == "10:45:00"
    at(clock, "10:45:00")

    assert await worker.sweep() == ["schedule_fired"]
    assert requests(server) == [SEVEN]


async def test_a_lead_time_grows_with_past_durations_and_with_the_rounds(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write(ready_by="true", lead_time_s="900", node_count="250"))
    await worker.sync()
    await worker.sweep()
    assert due_at(server) == f"04:{RECHECK_MS // 60_000:02}:03", "it is computed again before its time"
    at(clock, "09:58:00")
    assert await worker.sweep() == []
    # Three rounds of twenty minutes are an hour.
    spec = ScaleOutRequest(request_id="x", cluster_id="ehpc-a", zone="jn1a", node_count=250)
    pool = Pool("ehpc-a", pool_of(spec), "jn1a", "compute")
    done = [Duration(1_200_000, 2, ok=True, at=clock.now_ms()), Duration(9_999_999, 0, ok=False, at=1)]
    await worker.ledger.commit(with_entries(*(KeepDuration(pool, duration) for duration in done)))
    at(clock, "09:59:59")
    server.zadd("scaleout:due:all-else", {str(DUE): clock.now_ms()})
    assert await worker.sweep() == []
    at(clock, "10:00:00")

    assert await worker.sweep() == ["schedule_fired"]


async def test_mode_ensure_waits_while_nodes_cannot_be_listed(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write(mode='"ensure"', catch_up_s="120"))
    await worker.sync()
    at(clock, "11:00:00")
    assert await worker.sweep() == ["schedule_delayed"]
    waiting = record(server)
    assert waiting["attempts"] == 1
    assert "could not be reached" in waiting["wait_reason"]["message"]
    at(clock, "11:02:00")

    assert await worker.sweep() == ["schedule_missed"]
    assert requests(server) == []
    assert "attempts" not in record(server)


# --- the file changes --------------------------------------------------------------------------------------


async def test_a_new_schedule_has_no_past_occurrences(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    at(clock, "11:05:00")
    worker = start(write(catch_up_s="1800"))
    await worker.sync()

    assert await worker.sweep() == []
    assert requests(server) == []


async def test_a_schedule_added_within_its_lead_time_fires_at_once(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    at(clock, "10:50:00")
    worker = start(write(ready_by="true", lead_time='"fixed"', lead_time_s="900"))
    await worker.sync()

    assert await worker.sweep() == ["schedule_fired"]


async def test_a_changed_time_is_not_caught_up_but_other_edits_are(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    await start(write()).sync()
    at(clock, "11:05:00")
    other_fields = start(write(node_count="9"))
    await other_fields.sync()
    assert await other_fields.sweep() == ["schedule_fired"]
    request = await other_fields.ledger.request(f"schedule:s:{SEVEN}")
    assert request is not None
    assert request.valid_spec.node_count == 9

    other_time = start(write(cron='"3 19 * * *"'))
    await other_time.sync()
    assert await other_time.sweep() == []
    assert requests(server) == [SEVEN]


async def test_a_schedule_removed_and_added_again_has_no_past(
    write: Write, start: Start, clock: HandClock, server: redis.Redis, tmp_path: Path
) -> None:
    worker = start(write())
    await worker.sync()
    write(name='"t"')
    with capture_logs() as logs:
        await worker.sync()
    assert {"schedule_added", "schedule_removed"} <= {entry["event"] for entry in logs}
    assert due_at(server) is None
    assert server.smembers("scaleout:schedules") == {"t"}
    at(clock, "11:05:00")
    write()
    await worker.sync()
    assert await worker.sweep() == []
    at(clock, "2026-11-24T11:00:00")

    assert await worker.sweep() == ["schedule_fired"]
    assert requests(server) == ["20261124T110000Z"]


async def test_a_worker_without_the_schedule_leaves_it_to_those_that_have_it(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    has = start(write())
    await has.sync()
    none = start(None)
    await none.sync()
    assert server.smembers("scaleout:schedules") == {"s"}
    at(clock, "11:00:00")

    assert await none.sweep() == []
    assert requests(server) == []
    clock.advance(OTHER_FILE_RETRY_MS / 1000)
    assert await has.sweep() == ["schedule_fired"]


async def test_the_file_that_was_read_last_counts_for_all_workers(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    old = start(write("old.toml"))
    await old.sync()
    new = start(write("new.toml", cron='"0 18 * * *"', node_count="5"))
    await new.sync()
    await old.sync()
    at(clock, "10:00:00")

    assert await old.sweep() == ["schedule_fired"]
    (request_id,) = requests(server)
    request = await old.ledger.request(f"schedule:s:{request_id}")
    assert request is not None
    assert request.valid_spec.node_count == 5


async def test_reading_the_same_file_again_writes_nothing(
    write: Write, start: Start, server: redis.Redis
) -> None:
    await start(write()).sync()
    before = server.hget("scaleout:schedule:s", "version")
    await start(write()).sync()

    assert server.hget("scaleout:schedule:s", "version") == before == "1"


# --- the ledger loses data ---------------------------------------------------------------------------------


async def test_a_ledger_that_lost_data_fires_nothing_until_acknowledged(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.sync()
    server.hset("scaleout:epoch", "count", 0)
    at(clock, "11:00:00")
    assert await worker.sweep() == []
    assert requests(server) == []
    clock.advance(20)
    await worker.ledger.acknowledge_data_loss()

    assert await worker.sweep() == ["schedule_fired"]


async def test_schedules_return_to_an_emptied_ledger_without_their_past(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.sync()
    at(clock, "11:00:00")
    assert await worker.sweep() == ["schedule_fired"]
    server.flushall()
    await worker.ledger.request_sweep(10)
    await worker.sync()
    assert server.exists("scaleout:schedule:s") == 0, "nothing is put into a ledger that is lost"
    await worker.ledger.acknowledge_data_loss()
    await worker.ledger.request_sweep(10)
    await worker.sync()

    assert server.smembers("scaleout:schedules") == {"s"}
    assert await worker.sweep() == []
    assert requests(server) == []


async def test_a_restored_backup_does_not_fire_again_what_it_has_forgotten(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write(catch_up_s="1800"))
    await worker.sync()
    backup = {key: server.dump(key) for key in server.scan_iter("scaleout:*")}
    at(clock, "11:00:00")
    assert await worker.sweep() == ["schedule_fired"]
    server.flushall()
    for key, value in backup.items():
        server.restore(key, 0, value)  # type: ignore[arg-type]
    clock.advance(60)
    assert await worker.sweep() == []
    await worker.ledger.acknowledge_data_loss()
    await worker.ledger.request_sweep(10)
    await worker.sync()

    assert await worker.sweep() == []
    assert requests(server) == []


async def test_an_invalid_request_of_a_schedule_ends_as_rejected(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.sync()
    # As after an update of this program whose contract has become stricter.
    stale = record(server)
    stale["schedule"]["node_count"] = -1
    server.hset("scaleout:schedule:s", "content", json.dumps(stale))
    at(clock, "11:00:00")

    assert await worker.sweep() == ["schedule_fired"]
    outcome = json.loads(str(server.get(f"scaleout:outcome:schedule:s:{SEVEN}")))
    assert (outcome["status"], outcome["error"]["kind"]) == ("rejected", "invalid")


async def test_demand_that_arrives_while_nodes_are_counted_causes_a_conflict(
    write: Write, start: Start, clock: HandClock
) -> None:
    worker = start(write(mode='"ensure"', node_count="5"))
    await worker.sync()
    schedule = worker.ctx.policy().schedules[0]
    intake = Intake(worker.ledger, coalesce_s=1, deadline_s=60)
    empty = NodeListing((), None, 0)
    staged = await build_request(worker.ledger, intake, schedule, "some", empty)
    assert staged is not None
    assert staged.node_count == 5
    await intake.accept(
        ScaleOutRequest(request_id="other", cluster_id="ehpc-a", zone="jn1a", node_count=3), None
    )

    assert await worker.ledger.commit(staged.changes) is CommitResult.CONFLICT
    again = await build_request(worker.ledger, intake, schedule, "some", empty)
    assert again is not None
    assert (again.node_count, again.count) == (2, Count(present=0, on_its_way=3))
    assert await worker.ledger.commit(again.changes) is CommitResult.OK


async def test_a_listing_from_before_an_operation_ended_is_not_used(
    write: Write, start: Start, clock: HandClock
) -> None:
    worker = start(write(mode='"ensure"', node_count="5"))
    await worker.sync()
    schedule = worker.ctx.policy().schedules[0]
    intake = Intake(worker.ledger, coalesce_s=1, deadline_s=60)
    before = NodeListing((), "op-1", 0)
    ended = ChangeSet()
    ended.write((await worker.ledger.cluster("ehpc-a")).model_copy(update={"changed_at": clock.now_ms()}))
    await worker.ledger.commit(ended)

    assert await build_request(worker.ledger, intake, schedule, "some", before) is None
    assert await build_request(worker.ledger, intake, schedule, "some", NodeListing((), None, 0)) is None
    assert await build_request(worker.ledger, intake, schedule, "some", None) is None
    assert (
        await build_request(worker.ledger, intake, schedule, "some", NodeListing((), None, clock.now_ms()))
        is not None
    )
