"""Requests that come in against a policy, on a real server."""

import asyncio
import re
from collections import Counter
from typing import Any

import pytest
import redis

from config.policy.model import Policy, Schedule
from tasks.contract.request import ScaleOutRequest
from tasks.intake.accept import Accepted, Ended, Intake
from tasks.ledger.change_entries import KeepDuration
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.durations import Duration
from tasks.ledger.ledger import Ledger
from tasks.ledger.pools import Pool
from tasks.ledger.record_values import NodeCount
from tasks.ledger.usage_entries import UsageEntry
from tasks.runtime.clock import HandClock
from tasks.schedules.build_request import build_request
from tasks.state_machine.request_outcome import cancel_request
from tests.support.records import with_entries


def spec(request_id: str = "r-1", **fields: object) -> ScaleOutRequest:
    given = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 10, **fields}
    return ScaleOutRequest.model_validate(given)


def intake_by(ledger: Ledger, *, allow: dict[str, Any] | None = None, **limits: Any) -> Intake:
    policy = Policy.model_validate({"limits": limits, "allow": allow or {}})
    return Intake(ledger, coalesce_s=1.0, deadline_s=7200.0, policy=lambda: policy)


def error_of(answer: Accepted | Ended) -> dict[str, Any]:
    assert isinstance(answer, Ended)
    assert answer.outcome["status"] == "rejected"
    error: dict[str, Any] = answer.outcome["error"]
    return error


async def buy(ledger: Ledger, nodes: int, name: str = "op-1", scope: str = "account") -> None:
    entry = UsageEntry(scope, 3_600, name, nodes, ledger.clock.now_ms(), enters=True)
    assert await ledger.commit(with_entries(entry)) is CommitResult.OK


async def test_what_can_never_pass_is_rejected_with_every_rule_and_an_outcome(
    ledger: Ledger, server: redis.Redis
) -> None:
    intake = intake_by(ledger, allow={"zones": ["jn1b"]}, nodes_per_request=5, wait=True)

    error = error_of(await intake.accept(spec(), "task-1"))

    assert (error["kind"], error["code"]) == ("limit", None)
    assert error["message"] == (
        "allow.zones = jn1b: zone jn1a is not among them; "
        "limits.nodes_per_request = 5: the request is for 10 nodes"
    )
    assert server.xlen("scaleout:outcomes") == 1
    assert server.exists("scaleout:due:submissions", "scaleout:open", "scaleout:pools:ehpc-a") == 0
    assert await ledger.outbox(10) == [("task-1", "r-1")]
    lines = await ledger.overview.history("r-1")
    assert [line["event"] for line in lines] == ["request_rejected", "request_rejected", "request_finished"]
    assert lines[0]["rule"] == "allow.zones"


async def test_a_rejected_request_stays_rejected_when_it_is_sent_again(
    ledger: Ledger, server: redis.Redis
) -> None:
    first = await intake_by(ledger, nodes_per_request=5).accept(spec(), "task-1")
    again = await intake_by(ledger).accept(spec(), "task-2")

    assert again == first
    assert server.xlen("scaleout:outcomes") == 1


async def test_a_later_policy_does_not_reject_an_accepted_request(
    ledger: Ledger,
) -> None:
    await intake_by(ledger).accept(spec(), "task-1")

    again = await intake_by(ledger, nodes_per_request=5).accept(spec(), "task-2")

    assert isinstance(again, Accepted)
    assert not again.new


async def test_over_a_limit_a_request_is_rejected_or_waits(
    ledger: Ledger,
) -> None:
    await buy(ledger, 95)

    rejected = await intake_by(ledger, nodes_per_hour=100).accept(spec("r-1"), None)
    taken_in = await intake_by(ledger, nodes_per_hour=100, wait=True).accept(spec("r-2"), None)

    assert "limits.nodes_per_hour = 100: 95 nodes were bought" in error_of(rejected)["message"]
    assert isinstance(taken_in, Accepted)


async def test_there_is_room_again_when_the_hour_is_over(ledger: Ledger, clock: HandClock) -> None:
    await buy(ledger, 95)
    clock.advance(3_600)

    assert isinstance(await intake_by(ledger, nodes_per_hour=100).accept(spec(), None), Accepted)


async def test_concurrent_requests_stay_within_the_limit_in_flight(
    ledger: Ledger, server: redis.Redis
) -> None:
    intake = intake_by(ledger, nodes_in_flight_per_cluster=100)

    answers = await asyncio.gather(*(intake.accept(spec(f"r-{n}", node_count=7), None) for n in range(40)))

    assert Counter(type(answer).__name__ for answer in answers) == {"Accepted": 14, "Ended": 26}
    assert server.hget("scaleout:meter:0:cluster:ehpc-a:nodes", "=") == "98"
    refused = next(answer for answer in answers if isinstance(answer, Ended))
    assert "98 nodes are requested and not settled yet, 7 more would be 105" in error_of(refused)["message"]


async def test_the_same_request_twice_is_in_flight_once(ledger: Ledger, server: redis.Redis) -> None:
    intake = intake_by(ledger, nodes_in_flight_per_cluster=10)

    await intake.accept(spec(), "task-1")
    again = await intake.accept(spec(), "task-2")

    assert isinstance(again, Accepted)
    assert server.hget("scaleout:meter:0:cluster:ehpc-a:nodes", "=") == "10"


async def test_a_cancelled_request_makes_room_for_another(ledger: Ledger) -> None:
    intake = intake_by(ledger, nodes_in_flight_per_cluster=10)
    await intake.accept(spec("r-1"), None)
    request = await ledger.request("r-1")
    assert request is not None
    changes = ChangeSet()
    cancel_request(changes, request, ledger.clock.now_ms(), by="a test")
    await ledger.commit(changes)

    assert isinstance(await intake.accept(spec("r-2"), None), Accepted)


async def test_a_recent_count_is_used_at_intake_an_old_one_not(ledger: Ledger, clock: HandClock) -> None:
    intake = intake_by(ledger, nodes_per_cluster=100)
    changes = ChangeSet()
    cluster = await ledger.cluster("ehpc-a")
    changes.write(cluster.model_copy(update={"nodes": NodeCount(present=95, at=clock.now_ms())}))
    await ledger.commit(changes)

    assert "95 nodes are there or on their way" in error_of(await intake.accept(spec(), None))["message"]
    clock.advance(61)
    assert isinstance(await intake.accept(spec("r-2"), None), Accepted)


async def test_without_a_policy_intake_reads_nothing_and_counts_nothing(
    ledger: Ledger, server: redis.Redis
) -> None:
    await intake_by(ledger).accept(spec("warm"), None)
    before = server.info("commandstats")

    await intake_by(ledger).accept(spec(), None)

    after = server.info("commandstats")
    sent = {
        name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"]
        for name in ("cmdstat_evalsha", "cmdstat_hmget")
        if name in after
    }
    assert sent["cmdstat_evalsha"] == 1
    assert server.keys("scaleout:meter:*") == []


async def test_a_schedule_over_a_limit_fires_and_its_request_is_rejected(
    ledger: Ledger, server: redis.Redis
) -> None:
    schedule = Schedule(name="s", cron="0 19 * * *", cluster_id="ehpc-a", zone="jn1a", node_count=10)

    asking = await build_request(
        ledger, intake_by(ledger, nodes_per_request=5), schedule, "schedule:s:1", None
    )

    assert asking is not None
    assert await ledger.commit(asking.changes) is CommitResult.OK
    (outcome,) = await ledger.outcomes(["schedule:s:1"])
    assert outcome is not None
    assert (outcome["status"], outcome["error"]["kind"]) == ("rejected", "limit")
    assert outcome["error"]["message"] == asking.rejected
    assert server.exists("scaleout:pools:ehpc-a") == 0


# Dry runs


TELLING = re.compile(r"scaleout:(epoch|steps|answered|answers|outbox|due:all-else|answer:.*)")


def dumped(server: redis.Redis) -> dict[str, Any]:
    """Everything but what tells a waiting task its answer."""
    return {str(name): server.dump(name) for name in server.keys("*") if not TELLING.fullmatch(str(name))}


async def test_a_dry_run_says_what_would_come_of_it_and_writes_nothing(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    await intake_by(ledger).accept(spec("before", node_count=150), None)
    changes = ChangeSet()
    pool = Pool("ehpc-a", (await ledger.requests(["before"]))["before"].pool, "jn1a", "compute")
    changes.add(*[KeepDuration(pool, Duration(60_000, 99, True, clock.now_ms()))] * 3)
    await ledger.commit(changes)
    stored = dumped(server)

    answer = await intake_by(ledger).accept_message(
        "task-1", (), spec(node_count=250, dry_run=True).model_dump(mode="json")
    )

    assert dumped(server) == stored
    assert isinstance(answer, Ended)
    report = answer.outcome
    assert (report["dry_run"], report["status"], report["error"]) == (True, "accepted", None)
    assert report["operations"] == [99, 99, 52]
    assert report["operations_before"] == 2
    assert report["expected_duration"] == {"p50_s": 300.0, "p90_s": 300.0, "operations_seen": 3}
    assert report["expected_calls"] == {"submitting": 6, "counting": 0, "polling": 36}


async def test_a_dry_run_shows_what_is_rejected_and_what_waits(ledger: Ledger) -> None:
    await buy(ledger, 95)
    dry = spec(dry_run=True)

    rejected = await intake_by(ledger, nodes_per_hour=100).accept(dry, None)
    waiting = await intake_by(ledger, nodes_per_hour=100, nodes_per_cluster=500, wait=True).accept(dry, None)

    error = error_of(rejected)
    assert error["kind"] == "limit"
    assert isinstance(waiting, Ended)
    assert waiting.outcome["status"] == "waiting"
    (rule,) = waiting.outcome["broken_rules"]
    assert (rule["rule"], rule["limit"], rule["present"], rule["requested"]) == (
        "limits.nodes_per_hour",
        100,
        95,
        10,
    )
    assert rule["until"] == "2023-11-14T23:13:20.000Z"
    assert waiting.outcome["expected_calls"]["counting"] == 1


@pytest.mark.parametrize("wrong", [{"zone": 7}, {"node_role": "none"}])
async def test_a_dry_run_of_an_invalid_request_leaves_nothing_either(
    ledger: Ledger, server: redis.Redis, wrong: dict[str, Any]
) -> None:
    fields = {**spec().model_dump(mode="json", exclude={"request_id"}), "dry_run": True, **wrong}

    answer = await intake_by(ledger).accept_message("task-1", (), fields)

    assert error_of(answer)["kind"] == "invalid"
    assert dumped(server) == {}
    assert isinstance(answer, Ended)
    assert await ledger.answers(["task-1"]) == [answer.outcome]


async def test_a_dry_run_of_a_request_that_is_there_says_so(ledger: Ledger, server: redis.Redis) -> None:
    intake = intake_by(ledger)
    await intake.accept(spec(), "task-1")
    stored = dumped(server)

    same = await intake.accept(spec(dry_run=True), "task-2")
    other = await intake.accept(spec(node_count=11, dry_run=True), "task-3")

    assert isinstance(same, Ended)
    assert (same.outcome["status"], same.outcome["known"]) == ("accepted", True)
    assert error_of(other)["kind"] == "conflict"
    assert dumped(server) == stored
