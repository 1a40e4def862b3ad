"""A schedule's way through the ledger, step by step, on a clock that the test moves."""

from __future__ import annotations

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
from tasks.engine.wiring import open_api, open_governor
from tasks.handlers.context import Machinery
from tasks.intake.accept import Intake
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.due import Due, DueKind, Lane
from tasks.ledger.durations import Duration, Pool
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import pool_of
from tasks.runtime.clock import HandClock
from tasks.schedules.build_request import ask
from tasks.schedules.fire import LEFT_TO_OTHERS_MS, MOST_STEPS, fire_schedule
from tasks.schedules.node_count import Count, Listing
from tasks.schedules.sync import ScheduleKeeper
from tasks.schedules.timetable import LOOK_AGAIN_MS

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
    """One process's machinery with a policy file of its own."""

    def __init__(self, ledger: Ledger, connections: Connections, clock: HandClock, path: Path | None) -> None:
        policy = PolicyFile(path, request_problems, lambda: clock.now_ms() / 1000)
        self.machinery = Machinery(
            SETTINGS,
            ledger,
            open_api(SETTINGS, connections, clock),
            open_governor(SETTINGS, ledger),
            clock,
            policy=policy,
        )
        self.keeper = ScheduleKeeper(self.machinery, policy)
        self.ledger = ledger
        self.clock = clock

    async def keep(self) -> None:
        """As two ticks a second apart do, for a file that has just changed."""
        for _ in range(3):
            self.clock.advance(1)
            await self.keeper.keep()

    async def look(self) -> list[str]:
        """Fire the schedule `s` if it is due; the events that this led to."""
        entries = await self.ledger.claim_due(Lane.ALL_ELSE, 100, 45)
        with capture_logs() as logs:
            if DUE in entries:
                await fire_schedule(self.machinery, "s")
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


async def test_a_moment_is_asked_for_when_it_comes_and_the_next_one_is_waited_for(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.keep()
    assert await worker.look() == []
    assert due_at(server) == "11:00:00"
    at(clock, "10:59:59")
    assert await worker.look() == []
    at(clock, "11:00:00")
    assert await worker.look() == ["schedule_fired"]

    assert requests(server) == [SEVEN]
    request = await worker.ledger.request(f"schedule:s:{SEVEN}")
    assert request is not None
    assert request.form.requested_by == "schedule:s"
    assert request.deadline_at == clock.now_ms() + 3_600_000
    assert (due_at(server), record(server)["last"]["what"]) == ("11:00:00", "asked")
    assert await worker.look() == []


async def test_of_two_workers_that_fire_at_once_one_asks(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    one, other = start(write()), start(write())
    await one.keep()
    await other.keep()
    at(clock, "11:00:00")

    await fire_schedule(one.machinery, "s")
    await fire_schedule(other.machinery, "s")

    assert requests(server) == [SEVEN]
    assert server.hget(f"scaleout:request:schedule:s:{SEVEN}", "version") == "1"
    ((_, waiting),) = (await one.ledger.demand("ehpc-a")).waiting.items()
    assert [request.request_id for request in waiting] == [f"schedule:s:{SEVEN}"]


async def test_a_clock_that_is_set_back_fires_nothing_again(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.keep()
    at(clock, "11:00:00")
    assert await worker.look() == ["schedule_fired"]
    at(clock, "10:58:00")
    again = start(write())
    await again.keep()
    for time in ("10:59:00", "11:00:00", "11:00:30"):
        at(clock, time)
        assert await again.look() == []

    assert requests(server) == [SEVEN]


async def test_a_moment_whose_request_is_there_already_is_not_asked_for_again(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.keep()
    at(clock, "11:00:00")
    assert await worker.look() == ["schedule_fired"]
    # As after a restored backup: the record has forgotten the moment, the request has not.
    earlier = record(server) | {"through": NOON}
    server.hset("scaleout:schedule:s", mapping={"content": json.dumps(earlier)})
    server.zadd("scaleout:due:all-else", {str(DUE): clock.now_ms()})

    assert await worker.look() == ["schedule_fired"]

    assert server.hget(f"scaleout:request:schedule:s:{SEVEN}", "version") == "1"
    assert server.llen(f"scaleout:history:schedule:s:{SEVEN}") == 3
    assert record(server)["through"] > NOON


async def test_a_missed_moment_is_made_up_while_it_is_young_enough(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    await start(write(catch_up_s="1800")).keep()
    at(clock, "11:29:59")

    assert await start(write(catch_up_s="1800")).look() == ["schedule_fired"]
    assert requests(server) == [SEVEN]


async def test_a_missed_moment_that_is_too_old_is_told_of_and_not_made_up(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    await start(write(catch_up_s="1800")).keep()
    at(clock, "11:30:00")

    assert await start(write(catch_up_s="1800")).look() == ["schedule_missed"]
    assert requests(server) == []
    last = record(server)["last"]
    assert (last["what"], last["missed"]) == ("missed", 1)
    assert last["moment"] == int(datetime(2026, 11, 23, 11, tzinfo=UTC).timestamp() * 1000)


async def test_after_a_long_time_away_old_moments_are_counted_and_young_ones_made_up(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    every_minute = {"cron": '"* * * * *"', "catch_up_s": "300"}
    await start(write(**every_minute)).keep()
    at(clock, "2027-11-23T04:00:30")

    events = await start(write(**every_minute)).look()

    assert events == ["schedule_missed", *["schedule_fired"] * 5]
    assert requests(server) == [f"20271123T{time}00Z" for time in ("0356", "0357", "0358", "0359", "0400")]


async def test_very_many_moments_at_once_take_more_than_one_turn(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    every_minute = {"cron": '"* * * * *"', "catch_up_s": "86400"}
    worker = start(write(**every_minute))
    await worker.keep()
    at(clock, "06:00:30")

    assert len(await worker.look()) == MOST_STEPS
    while await worker.look():
        pass
    assert len(requests(server)) == 120


async def test_nodes_that_have_to_be_there_by_the_moment_are_asked_for_by_the_lead_time_before(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write(ready_by="true", lead_time='"fixed"', lead_time_s="900"))
    await worker.keep()
    await worker.look()
    assert due_at(server) == "10:45:00"
    at(clock, "10:45:00")

    assert await worker.look() == ["schedule_fired"]
    assert requests(server) == [SEVEN]


async def test_a_lead_time_grows_with_what_the_pool_has_needed_and_with_the_rounds(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write(ready_by="true", lead_time_s="900", node_count="250"))
    await worker.keep()
    await worker.look()
    assert due_at(server) == f"04:{LOOK_AGAIN_MS // 60_000:02}:03", "it is looked at again before its time"
    at(clock, "09:58:00")
    assert await worker.look() == []
    # Three rounds of twenty minutes are an hour.
    form = ScaleOutRequest(request_id="x", cluster_id="ehpc-a", zone="jn1a", node_count=250)
    pool = Pool("ehpc-a", pool_of(form), "jn1a", "compute")
    done = [Duration(1_200_000, 2, ok=True, at=clock.now_ms()), Duration(9_999_999, 0, ok=False, at=1)]
    await worker.ledger.commit(Changes(durations=[(pool, duration) for duration in done]))
    at(clock, "09:59:59")
    server.zadd("scaleout:due:all-else", {str(DUE): clock.now_ms()})
    assert await worker.look() == []
    at(clock, "10:00:00")

    assert await worker.look() == ["schedule_fired"]


async def test_what_is_ensured_waits_while_the_nodes_cannot_be_listed_and_is_missed_in_the_end(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write(mode='"ensure"', catch_up_s="120"))
    await worker.keep()
    at(clock, "11:00:00")
    assert await worker.look() == ["schedule_waits"]
    waiting = record(server)
    assert waiting["tries"] == 1
    assert "could not be reached" in waiting["waits_for"]["message"]
    at(clock, "11:02:00")

    assert await worker.look() == ["schedule_missed"]
    assert requests(server) == []
    assert "tries" not in record(server)


# --- the file changes --------------------------------------------------------------------------------------


async def test_a_schedule_that_comes_new_has_no_moments_of_before(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    at(clock, "11:05:00")
    worker = start(write(catch_up_s="1800"))
    await worker.keep()

    assert await worker.look() == []
    assert requests(server) == []


async def test_a_moment_that_lies_ahead_is_asked_for_late_by_a_schedule_that_comes_within_the_lead_time(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    at(clock, "10:50:00")
    worker = start(write(ready_by="true", lead_time='"fixed"', lead_time_s="900"))
    await worker.keep()

    assert await worker.look() == ["schedule_fired"]


async def test_another_time_of_day_is_not_made_up_but_other_fields_leave_a_missed_moment_as_it_is(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    await start(write()).keep()
    at(clock, "11:05:00")
    other_fields = start(write(node_count="9"))
    await other_fields.keep()
    assert await other_fields.look() == ["schedule_fired"]
    request = await other_fields.ledger.request(f"schedule:s:{SEVEN}")
    assert request is not None
    assert request.form.node_count == 9

    other_time = start(write(cron='"3 19 * * *"'))
    await other_time.keep()
    assert await other_time.look() == []
    assert requests(server) == [SEVEN]


async def test_a_schedule_that_is_taken_out_of_the_file_fires_no_more_and_comes_back_without_its_past(
    write: Write, start: Start, clock: HandClock, server: redis.Redis, tmp_path: Path
) -> None:
    worker = start(write())
    await worker.keep()
    write(name='"t"')
    with capture_logs() as logs:
        await worker.keep()
    assert {"schedule_added", "schedule_removed"} <= {entry["event"] for entry in logs}
    assert due_at(server) is None
    assert server.smembers("scaleout:schedules") == {"t"}
    at(clock, "11:05:00")
    write()
    await worker.keep()
    assert await worker.look() == []
    at(clock, "2026-11-24T11:00:00")

    assert await worker.look() == ["schedule_fired"]
    assert requests(server) == ["20261124T110000Z"]


async def test_a_worker_without_the_schedule_leaves_it_to_those_that_have_it(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    has = start(write())
    await has.keep()
    none = start(None)
    await none.keep()
    assert server.smembers("scaleout:schedules") == {"s"}
    at(clock, "11:00:00")

    assert await none.look() == []
    assert requests(server) == []
    clock.advance(LEFT_TO_OTHERS_MS / 1000)
    assert await has.look() == ["schedule_fired"]


async def test_the_file_that_was_read_last_holds_for_all_workers(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    old = start(write("old.toml"))
    await old.keep()
    new = start(write("new.toml", cron='"0 18 * * *"', node_count="5"))
    await new.keep()
    await old.keep()
    at(clock, "10:00:00")

    assert await old.look() == ["schedule_fired"]
    (request_id,) = requests(server)
    request = await old.ledger.request(f"schedule:s:{request_id}")
    assert request is not None
    assert request.form.node_count == 5


async def test_reading_the_same_file_again_writes_nothing(
    write: Write, start: Start, server: redis.Redis
) -> None:
    await start(write()).keep()
    before = server.hget("scaleout:schedule:s", "version")
    await start(write()).keep()

    assert server.hget("scaleout:schedule:s", "version") == before == "1"


# --- the ledger loses data ---------------------------------------------------------------------------------


async def test_a_ledger_that_has_lost_data_fires_nothing_until_it_is_accepted(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.keep()
    server.hset("scaleout:epoch", "count", 0)
    at(clock, "11:00:00")
    assert await worker.look() == []
    assert requests(server) == []
    clock.advance(20)
    await worker.ledger.accept()

    assert await worker.look() == ["schedule_fired"]


async def test_schedules_come_back_into_a_ledger_that_was_emptied_and_accepted_without_their_past(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.keep()
    at(clock, "11:00:00")
    assert await worker.look() == ["schedule_fired"]
    server.flushall()
    await worker.ledger.ring(10)
    await worker.keep()
    assert server.exists("scaleout:schedule:s") == 0, "nothing is put into a ledger that is lost"
    await worker.ledger.accept()
    await worker.ledger.ring(10)
    await worker.keep()

    assert server.smembers("scaleout:schedules") == {"s"}
    assert await worker.look() == []
    assert requests(server) == []


async def test_a_restored_backup_does_not_fire_again_what_it_has_forgotten(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write(catch_up_s="1800"))
    await worker.keep()
    backup = {key: server.dump(key) for key in server.scan_iter("scaleout:*")}
    at(clock, "11:00:00")
    assert await worker.look() == ["schedule_fired"]
    server.flushall()
    for key, value in backup.items():
        server.restore(key, 0, value)  # type: ignore[arg-type]
    clock.advance(60)
    assert await worker.look() == []
    await worker.ledger.accept()
    await worker.ledger.ring(10)
    await worker.keep()

    assert await worker.look() == []
    assert requests(server) == []


async def test_an_invalid_request_of_a_schedule_ends_as_rejected(
    write: Write, start: Start, clock: HandClock, server: redis.Redis
) -> None:
    worker = start(write())
    await worker.keep()
    # As after an update of this program whose contract has become stricter.
    stale = record(server)
    stale["schedule"]["node_count"] = -1
    server.hset("scaleout:schedule:s", "content", json.dumps(stale))
    at(clock, "11:00:00")

    assert await worker.look() == ["schedule_fired"]
    outcome = json.loads(str(server.get(f"scaleout:outcome:schedule:s:{SEVEN}")))
    assert (outcome["status"], outcome["error"]["kind"]) == ("rejected", "invalid")


async def test_demand_that_comes_while_a_role_is_counted_makes_the_step_stale(
    write: Write, start: Start, clock: HandClock
) -> None:
    worker = start(write(mode='"ensure"', node_count="5"))
    await worker.keep()
    schedule = worker.machinery.policy().schedules[0]
    intake = Intake(worker.ledger, coalesce_s=1, deadline_s=60)
    empty = Listing((), None, 0)
    asking = await ask(worker.ledger, intake, schedule, "some", empty)
    assert asking is not None
    assert asking.node_count == 5
    await intake.accept(
        ScaleOutRequest(request_id="other", cluster_id="ehpc-a", zone="jn1a", node_count=3), None
    )

    assert await worker.ledger.commit(asking.changes) is Committed.STALE
    again = await ask(worker.ledger, intake, schedule, "some", empty)
    assert again is not None
    assert (again.node_count, again.count) == (2, Count(present=0, on_its_way=3))
    assert await worker.ledger.commit(again.changes) is Committed.OK


async def test_nodes_that_were_listed_before_an_operation_ended_are_not_counted_by(
    write: Write, start: Start, clock: HandClock
) -> None:
    worker = start(write(mode='"ensure"', node_count="5"))
    await worker.keep()
    schedule = worker.machinery.policy().schedules[0]
    intake = Intake(worker.ledger, coalesce_s=1, deadline_s=60)
    before = Listing((), "op-1", 0)
    ended = Changes()
    ended.put((await worker.ledger.cluster("ehpc-a")).model_copy(update={"changed_at": clock.now_ms()}))
    await worker.ledger.commit(ended)

    assert await ask(worker.ledger, intake, schedule, "some", before) is None
    assert await ask(worker.ledger, intake, schedule, "some", Listing((), None, 0)) is None
    assert await ask(worker.ledger, intake, schedule, "some", None) is None
    assert await ask(worker.ledger, intake, schedule, "some", Listing((), None, clock.now_ms())) is not None
