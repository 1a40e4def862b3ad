"""The ledger's scripts on a real server."""

import json

import pytest
import redis
from redis.asyncio import Redis

from tasks.contract.request import ScaleOutRequest
from tasks.intake.accept import Accepted, Ended, Intake
from tasks.ledger.change_entries import ForgetPool, OwnJob, PollJob
from tasks.ledger.change_set import ChangeSet, CommitResult, DueRule
from tasks.ledger.due import Due, DueKind, Lane
from tasks.ledger.events import Event
from tasks.ledger.identity import OtherAccount
from tasks.ledger.keys import Keys
from tasks.ledger.ledger import Ledger, Lookup, ServerChange
from tasks.ledger.records import Cluster, Request
from tasks.runtime.clock import HandClock
from tasks.state_machine.request_outcome import end_request
from tests.support.records import scheduled, with_entries
from workers.cli.session import provider_of

# Records are written by hand here, ended without the step that gives them a time to live.
pytestmark = pytest.mark.permanent_keys("scaleout:request:*", "scaleout:operation:*", "scaleout:history:*")


def spec(request_id: str = "r-1", **fields: object) -> ScaleOutRequest:
    given = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2, **fields}
    return ScaleOutRequest.model_validate(given)


@pytest.fixture
def intake(ledger: Ledger) -> Intake:
    return Intake(ledger, coalesce_s=1.0, deadline_s=7200.0)


async def test_an_accepted_request_is_in_the_ledger_with_demand_and_deadline(
    intake: Intake, ledger: Ledger, clock: HandClock
) -> None:
    answer = await intake.accept(spec(), "task-1")

    assert answer == Accepted("r-1", "ehpc-a", new=True)
    request = await ledger.request("r-1")
    assert request is not None
    assert request.unassigned_nodes == 2
    assert [
        r.request_id for rs in (await ledger.cluster_snapshot("ehpc-a")).waiting.values() for r in rs
    ] == ["r-1"]
    assert await ledger.claim_due(Lane.SUBMISSIONS, 10, 45) == []
    clock.advance(1)
    assert await ledger.claim_due(Lane.SUBMISSIONS, 10, 45) == [Due(DueKind.CLUSTER, "ehpc-a")]
    clock.advance(7199)
    assert Due(DueKind.REQUEST, "r-1") in await ledger.claim_due(Lane.ALL_ELSE, 10, 45)


async def test_the_same_request_twice_is_one_request_with_two_waiting_tasks(
    intake: Intake, ledger: Ledger, server: redis.Redis
) -> None:
    await intake.accept(spec(), "task-1")
    again = await intake.accept(spec(), "task-2")

    assert isinstance(again, Accepted)
    assert not again.new
    assert server.smembers("scaleout:waiters:r-1") == {"task-1", "task-2"}
    request = await ledger.request("r-1")
    assert request is not None
    assert request.version == 1


async def test_the_same_id_with_other_content_is_a_conflict_that_touches_nothing(
    intake: Intake, server: redis.Redis
) -> None:
    await intake.accept(spec(), "task-1")
    before = {key: server.dump(key) for key in server.scan_iter("scaleout:*:r-1")}

    answer = await intake.accept(spec(node_count=3), "task-2")

    assert isinstance(answer, Ended)
    assert answer.outcome["status"] == "rejected"
    assert answer.outcome["error"]["kind"] == "conflict"
    assert {key: server.dump(key) for key in server.scan_iter("scaleout:*:r-1")} == before
    assert server.exists("scaleout:outcome:r-1", "scaleout:outcomes") == 0


async def test_an_invalid_request_is_rejected_with_every_problem_and_written_once(
    intake: Intake, server: redis.Redis
) -> None:
    bad = {"cluster_id": "x", "zone": "jn1a", "node_count": 0}
    first = await intake.accept_message("task-1", (), bad)
    second = await intake.accept_message("task-1", (), bad)

    assert isinstance(first, Ended)
    assert first == second
    assert first.outcome["status"] == "rejected"
    assert "cluster_id" in first.outcome["error"]["message"]
    assert "node_count" in first.outcome["error"]["message"]
    assert json.loads(server.get("scaleout:outcome:task-1") or "") == first.outcome
    assert server.xlen("scaleout:outcomes") == 1
    assert server.exists("scaleout:due:submissions", "scaleout:open") == 0
    assert server.zrange("scaleout:outbox", 0, -1) == ["task-1 task-1"]


async def test_an_invalid_request_keeps_its_own_id_when_that_can_be_used(
    intake: Intake, server: redis.Redis
) -> None:
    await intake.accept_message("task-1", ("positional",), {"request_id": "mine", "cluster_id": "ehpc-a"})
    await intake.accept_message("task-2", (), {"request_id": "not\x00mine", "cluster_id": "ehpc-a"})
    await intake.accept_message("task 3/\n", (), {"request_id": 7})

    assert sorted(server.scan_iter("scaleout:outcome:*")) == [
        "scaleout:outcome:mine",
        "scaleout:outcome:task-2",
        "scaleout:outcome:task_3__",
    ]


async def test_a_commit_on_a_record_that_has_moved_on_changes_nothing(
    intake: Intake, ledger: Ledger, server: redis.Redis
) -> None:
    await intake.accept(spec(), None)
    stale = await ledger.request("r-1")
    assert stale is not None
    first, late = ChangeSet(), ChangeSet()
    first.write(stale.model_copy(update={"unassigned_nodes": 1}))
    late.write(stale.model_copy(update={"unassigned_nodes": 0}))
    late.schedule(Due(DueKind.ZONE, "jn1a"), 1)
    late.record(Event("never", requests=("r-1",)))

    assert await ledger.commit(first) is CommitResult.OK
    assert await ledger.commit(late) is CommitResult.CONFLICT

    now = await ledger.request("r-1")
    assert now is not None
    assert now.unassigned_nodes == 1
    assert server.zscore("scaleout:due:all-else", "zone:jn1a") is None
    assert [line["event"] for line in await ledger.overview.history("r-1")] == ["request_accepted"]


async def test_a_commit_sent_twice_is_applied_once_with_the_same_answer(
    ledger: Ledger, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: type("U", (), {"hex": "the-same-call"})())
    changes = ChangeSet()
    changes.write(Cluster(cluster_id="ehpc-a", locked_by="op-1"))

    assert await ledger.commit(changes) is CommitResult.OK
    assert await ledger.commit(changes) is CommitResult.OK

    assert server.hget("scaleout:cluster:ehpc-a", "version") == "1"


async def test_a_cluster_is_woken_only_if_it_has_demand(
    intake: Intake, ledger: Ledger, clock: HandClock, server: redis.Redis
) -> None:
    await ledger.commit(scheduled({Due(DueKind.CLUSTER, "ehpc-b"): 1}))
    await intake.accept(spec(), None)
    woken = clock.now_ms() + 5_000

    changes = ChangeSet()
    changes.wake_cluster("ehpc-a", woken)
    changes.wake_cluster("ehpc-b", woken)
    await ledger.commit(changes)

    assert server.zscore("scaleout:due:submissions", "cluster:ehpc-a") == woken
    assert server.zscore("scaleout:due:submissions", "cluster:ehpc-b") is None


async def test_a_new_job_does_not_move_the_next_poll_of_its_zone(ledger: Ledger, server: redis.Redis) -> None:
    due = Due(DueKind.ZONE, "jn1a")
    await ledger.commit(scheduled({due: 5_000}, DueRule.IF_ABSENT))
    assert server.zscore(ledger.keys.due(due.lane), str(due)) == 5_000

    await ledger.commit(scheduled({due: 1_000}, DueRule.IF_ABSENT))
    assert server.zscore(ledger.keys.due(due.lane), str(due)) == 5_000


async def test_suspended_submissions_count_as_waiting_between_two_attempts(
    ledger: Ledger, clock: HandClock
) -> None:
    assert not await ledger.submissions_waited_recently()
    await ledger.suspend_submissions(clock.now_ms() + 30_000)
    clock.advance(60)
    assert await ledger.submissions_suspended_until() is None
    assert await ledger.submissions_waited_recently()
    clock.advance(60)
    assert not await ledger.submissions_waited_recently()


async def test_a_process_knows_what_is_due_by_what_it_wrote_and_claimed(
    intake: Intake, ledger: Ledger, clock: HandClock
) -> None:
    assert not ledger.expects_due(Lane.SUBMISSIONS)
    await intake.accept(spec(), None)
    assert not ledger.expects_due(Lane.SUBMISSIONS)
    clock.advance(1)
    assert ledger.expects_due(Lane.SUBMISSIONS)
    await ledger.claim_due(Lane.SUBMISSIONS, 10, 45)
    assert not ledger.expects_due(Lane.SUBMISSIONS)
    clock.advance(45)
    assert ledger.expects_due(Lane.SUBMISSIONS)


async def test_a_claim_sent_twice_gives_the_same_entries_and_leases_no_others(
    ledger: Ledger, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = scheduled({Due(DueKind.CLUSTER, f"ehpc-{n}"): n for n in range(3)})
    await ledger.commit(changes)
    monkeypatch.setattr("uuid.uuid4", lambda: type("U", (), {"hex": "the-same-claim"})())

    first = await ledger.claim_due(Lane.SUBMISSIONS, 2, 45)
    assert await ledger.claim_due(Lane.SUBMISSIONS, 2, 45) == first

    monkeypatch.undo()
    assert await ledger.claim_due(Lane.SUBMISSIONS, 9, 45) == [Due(DueKind.CLUSTER, "ehpc-2")]
    assert await ledger.claim_due(Lane.SUBMISSIONS, 9, 45) == []
    clock.advance(44.9)
    assert await ledger.claim_due(Lane.SUBMISSIONS, 9, 45) == []
    clock.advance(0.1)
    assert len(await ledger.claim_due(Lane.SUBMISSIONS, 9, 45)) == 3


async def test_while_submissions_are_suspended_all_else_continues(ledger: Ledger, clock: HandClock) -> None:
    cluster, zone = Due(DueKind.CLUSTER, "ehpc-1"), Due(DueKind.ZONE, "jn1a")
    await ledger.commit(scheduled({cluster: 1}))
    await ledger.suspend_submissions(clock.now_ms() + 7_000)

    assert not await ledger.request_sweep(10)
    assert await ledger.claim_due(Lane.SUBMISSIONS, 9, 45) == []
    assert await ledger.overview.overdue_s() == 0
    await ledger.commit(scheduled({zone: 1}))
    assert await ledger.request_sweep(10)
    assert await ledger.claim_due(Lane.ALL_ELSE, 9, 45) == [zone]
    clock.advance(7)
    assert ledger.expects_due(Lane.SUBMISSIONS)
    assert await ledger.claim_due(Lane.SUBMISSIONS, 9, 45) == [cluster]


async def test_remembered_answers_are_forgotten_after_ten_minutes(
    ledger: Ledger, clock: HandClock, server: redis.Redis
) -> None:
    for _ in range(5):
        await ledger.commit(scheduled({Due(DueKind.CLUSTER, "ehpc-a"): 1}))
    clock.advance(601)
    await ledger.commit(scheduled({Due(DueKind.CLUSTER, "ehpc-a"): 2}))

    assert server.zcard("scaleout:answered") == 1
    assert server.hlen("scaleout:answers") == 1


async def test_demand_that_arrives_while_a_cluster_is_planned_makes_that_plan_stale(
    intake: Intake, ledger: Ledger
) -> None:
    await intake.accept(spec("r-1"), None)
    snapshot = await ledger.cluster_snapshot("ehpc-a")
    await intake.accept(spec("r-2"), None)
    plan = ChangeSet(expected=[snapshot.arrivals])
    plan.schedule(Due(DueKind.CLUSTER, "ehpc-a"), None)

    assert await ledger.commit(plan) is CommitResult.CONFLICT


async def test_demand_that_arrives_keeps_no_step_of_its_cluster_from_being_written(
    intake: Intake, ledger: Ledger
) -> None:
    """Thousands of requests a second for one cluster once kept its zone from being polled."""
    cluster = await ledger.cluster("ehpc-a")
    await intake.accept(spec("r-1"), None)
    release = ChangeSet()
    release.write(cluster.model_copy(update={"locked_by": None, "changed_at": 1}))

    assert await ledger.commit(release) is CommitResult.OK


async def test_a_pool_is_not_forgotten_while_a_request_has_just_arrived(
    intake: Intake, ledger: Ledger, server: redis.Redis
) -> None:
    await intake.accept(spec("r-1"), None)
    (pool,) = (await ledger.cluster_snapshot("ehpc-a")).waiting
    forget = ChangeSet()
    forget.add(ForgetPool("ehpc-a", pool))

    await ledger.commit(forget)

    assert server.smembers("scaleout:pools:ehpc-a") == {pool}


async def test_an_ended_request_informs_all_subscribers_and_expires_with_its_outcome(
    intake: Intake, ledger: Ledger, clock: HandClock, server: redis.Redis
) -> None:
    await intake.accept(spec(), "task-1")
    await intake.accept(spec(), "task-2")
    request = await ledger.request("r-1")
    assert request is not None
    changes = ChangeSet()
    end_request(changes, request, "timed_out", clock.now_ms())
    await ledger.commit(changes)

    assert sorted(await ledger.outbox(10)) == [("task-1", "r-1"), ("task-2", "r-1")]
    for key in ("request:r-1", "history:r-1", "outcome:r-1"):
        assert 604_000 < int(server.ttl(f"scaleout:{key}")) <= 604_800
    without_ttl = {key for key in server.scan_iter("scaleout:*") if server.ttl(key) == -1}
    assert not any("r-1" in key for key in without_ttl)
    word, outcome = await ledger.subscribe("r-1", None, "task-3")
    assert word is Lookup.ENDED
    assert outcome is not None
    assert outcome["status"] == "timed_out"
    assert (
        server.zrange("scaleout:due:all-else", 0, -1) == ["outbox:all"]
        or server.zscore("scaleout:due:all-else", "request:r-1") is None
    )


async def test_subscribing_to_an_unknown_request_writes_nothing(ledger: Ledger, server: redis.Redis) -> None:
    assert await ledger.subscribe("nobody", None, "task-1") == (Lookup.NOT_FOUND, None)
    assert list(server.scan_iter("*")) == []


async def test_a_sweep_is_requested_once_until_it_has_started(ledger: Ledger, clock: HandClock) -> None:
    assert not await ledger.request_sweep(10)
    await ledger.commit(scheduled({Due(DueKind.ZONE, "jn1a"): clock.now_ms() + 1000}))
    assert not await ledger.request_sweep(10)
    clock.advance(1)
    assert await ledger.request_sweep(10)
    assert not await ledger.request_sweep(10)
    await ledger.sweep_started()
    assert await ledger.request_sweep(10)
    clock.advance(10)
    assert await ledger.request_sweep(10), "a request that no worker took is made again"


async def test_a_zone_is_polled_until_nothing_runs_there(
    ledger: Ledger, clock: HandClock, server: redis.Redis
) -> None:
    changes = scheduled({Due(DueKind.ZONE, "jn1a"): clock.now_ms()})
    changes.add(PollJob("jn1a", "j-1", "op-1", clock.now_ms()))
    await ledger.commit(changes)
    assert not await ledger.schedule_poll("jn1a", clock.now_ms() + 5000)
    assert server.zscore("scaleout:due:all-else", "zone:jn1a") == clock.now_ms() + 5000

    await ledger.commit(with_entries(PollJob("jn1a", "j-1", "op-1", None)))
    assert await ledger.schedule_poll("jn1a", clock.now_ms() + 5000)
    assert server.zscore("scaleout:due:all-else", "zone:jn1a") is None


async def test_a_record_is_read_as_it_was_written(ledger: Ledger, clock: HandClock) -> None:
    request = Request(
        request_id="r-1",
        spec=spec(
            node_count=3, private_ips=["10.0.0.1", "10.0.0.2", "10.0.0.3"], resource_conf={"cpu": 4}
        ).content,
        fingerprint="f",
        accepted_at=clock.now_ms(),
        deadline_at=clock.now_ms() + 1,
        unassigned_nodes=3,
    )
    changes = ChangeSet()
    changes.write(request)
    await ledger.commit(changes)

    assert await ledger.request("r-1") == request.model_copy(update={"version": 1})


def submission(operation_id: str) -> ChangeSet:
    changes = ChangeSet(sends=True)
    changes.write(Cluster(cluster_id=operation_id))
    return changes


async def test_a_new_ledger_accepts_submissions_at_once(ledger: Ledger) -> None:
    assert await ledger.commit(submission("op-1")) is CommitResult.OK
    assert await ledger.lost_since() is None


@pytest.mark.parametrize("what", ["empty", "older", "another"])
async def test_a_ledger_that_lost_data_refuses_submissions_until_that_is_acknowledged(
    async_redis: Redis, ledger: Ledger, clock: HandClock, server: redis.Redis, what: str
) -> None:
    other = Ledger(async_redis, ledger.keys, clock, outcome_ttl_s=1000, stream_maxlen=1000)
    await ledger.commit(submission("op-1"))
    await ledger.commit(submission("op-2"))
    if what == "empty":
        server.flushall()
    elif what == "older":
        server.hset("scaleout:epoch", "count", 1)
    else:
        server.hset("scaleout:epoch", mapping={"id": "another", "count": 99})

    assert await ledger.commit(submission("op-3")) is CommitResult.DATA_LOST
    assert server.exists("scaleout:cluster:op-3") == 0
    assert await ledger.lost_since() == clock.now_ms()
    assert ledger.epoch.lost
    assert await other.commit(submission("op-4")) is CommitResult.DATA_LOST, "a new process is told as well"
    assert await ledger.commit(ChangeSet()) is CommitResult.OK

    await ledger.acknowledge_data_loss()

    assert await ledger.commit(submission("op-3")) is CommitResult.OK
    assert await other.commit(submission("op-4")) is CommitResult.OK
    assert not ledger.epoch.lost


async def test_an_emptied_ledger_that_was_marked_lets_no_first_step_send(ledger: Ledger) -> None:
    await ledger.mark_data_lost()

    assert await ledger.commit(submission("op-1")) is CommitResult.DATA_LOST


async def test_an_idle_worker_notices_by_its_tick_that_data_is_missing(
    ledger: Ledger, server: redis.Redis
) -> None:
    await ledger.commit(submission("op-1"))
    server.flushall()

    await ledger.request_sweep(10)

    assert ledger.epoch.lost
    assert await ledger.lost_since() is not None


async def test_heartbeats_are_kept_for_a_day(ledger: Ledger, clock: HandClock) -> None:
    await ledger.request_sweep(10, "one@here")
    began = clock.now_ms()
    clock.advance(5)
    await ledger.request_sweep(10, "two@here")
    await ledger.request_sweep(10)
    assert await ledger.overview.heartbeats() == {"one@here": began, "two@here": began + 5000}
    clock.advance(86_396)
    await ledger.request_sweep(10, "two@here")

    assert list(await ledger.overview.heartbeats()) == ["two@here"]


def saved(server: redis.Redis) -> dict[str, bytes]:
    with redis.Redis(port=server.connection_pool.connection_kwargs["port"]) as raw:
        return {str(key): raw.dump(key) for key in server.keys("*")}


def restored(server: redis.Redis, data: dict[str, bytes]) -> None:
    server.flushall()
    with redis.Redis(port=server.connection_pool.connection_kwargs["port"]) as raw:
        for key, value in data.items():
            raw.restore(key, 0, value)


async def test_lost_steps_are_noticed_although_others_have_written_more_since(
    ledger: Ledger, server: redis.Redis, async_redis: Redis, clock: HandClock
) -> None:
    """The sender knows ten steps, the replica has eight, and four others write first."""
    for _ in range(8):
        await ledger.commit(ChangeSet())
    others = Ledger(async_redis, ledger.keys, clock, outcome_ttl_s=60, stream_maxlen=100)
    await others.request_sweep(1.0, "other")
    replica = saved(server)
    for _ in range(2):
        await ledger.commit(ChangeSet())
    restored(server, replica)

    for _ in range(4):
        assert await others.commit(ChangeSet(sends=True)) is CommitResult.OK
    assert await ledger.commit(ChangeSet(sends=True)) is CommitResult.DATA_LOST
    assert await others.commit(ChangeSet(sends=True)) is CommitResult.DATA_LOST
    assert await ledger.lost_since() is not None

    await ledger.acknowledge_data_loss()
    for each in (ledger, others):
        await each.commit(ChangeSet())
        assert await each.commit(ChangeSet(sends=True)) is CommitResult.OK


async def test_lost_steps_are_noticed_by_the_tick_of_a_worker_that_has_seen_them(
    ledger: Ledger, server: redis.Redis, async_redis: Redis, clock: HandClock
) -> None:
    await ledger.commit(ChangeSet())
    replica = saved(server)
    await ledger.commit(ChangeSet())
    idle = Ledger(async_redis, ledger.keys, clock, outcome_ttl_s=60, stream_maxlen=100)
    await idle.request_sweep(1.0, "idle")
    restored(server, replica)
    others = Ledger(async_redis, ledger.keys, clock, outcome_ttl_s=60, stream_maxlen=100)
    for _ in range(5):
        await others.commit(ChangeSet())
    assert await ledger.lost_since() is None

    await idle.request_sweep(1.0, "idle")

    assert await ledger.lost_since() is not None


async def test_no_step_is_missed_by_a_worker_that_was_away_for_very_many(
    ledger: Ledger, async_redis: Redis, clock: HandClock, server: redis.Redis
) -> None:
    away = Ledger(async_redis, ledger.keys, clock, outcome_ttl_s=60, stream_maxlen=100)
    await away.commit(ChangeSet())
    # As if ten thousand steps had been taken since.
    server.hincrby("scaleout:epoch", "count", 10_000)
    await ledger.commit(ChangeSet())

    assert await away.commit(ChangeSet(sends=True)) is CommitResult.OK
    assert server.zcard("scaleout:steps") == 2


async def test_a_commit_sent_again_after_nine_minutes_is_applied_once(
    ledger: Ledger, server: redis.Redis, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ChangeSet()
    changes.write(Cluster(cluster_id="ehpc-a"))
    with monkeypatch.context() as patched:
        patched.setattr("uuid.uuid4", lambda: type("U", (), {"hex": "the-same-call"})())
        await ledger.commit(changes)
    clock.advance(540)
    await ledger.commit(ChangeSet())
    monkeypatch.setattr("uuid.uuid4", lambda: type("U", (), {"hex": "the-same-call"})())

    assert await ledger.commit(changes) is CommitResult.OK
    assert server.hget("scaleout:cluster:ehpc-a", "version") == "1"


async def test_a_job_belongs_to_one_operation_of_all_clusters(ledger: Ledger) -> None:
    def owned(cluster_id: str, operation_id: str) -> ChangeSet:
        return with_entries(OwnJob(cluster_id, "j-1", operation_id, 5, 0))

    assert await ledger.commit(owned("ehpc-a", "op-1")) is CommitResult.OK
    assert await ledger.commit(owned("ehpc-b", "op-2")) is CommitResult.CONFLICT
    assert await ledger.commit(owned("ehpc-a", "op-1")) is CommitResult.OK
    assert await ledger.job_owners("ehpc-b", ["j-1"]) == {"j-1": "op-1"}


async def test_nothing_is_sent_to_a_server_that_has_just_been_replaced(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    ledger.settle_ms = 60_000
    await ledger.request_sweep(1.0, "one")
    last_tick = clock.now_ms()
    assert await ledger.commit(submission("op-1")) is CommitResult.OK
    server.hset("scaleout:epoch", "server", "another")
    clock.advance(300)

    assert await ledger.commit(submission("op-2")) is CommitResult.SERVER_CHANGED
    assert await ledger.commit(ChangeSet()) is CommitResult.OK
    await ledger.request_sweep(1.0, "one")
    assert ledger.server_change == ServerChange(clock.now_ms(), last_tick)
    clock.advance(59)
    assert await ledger.commit(submission("op-2")) is CommitResult.SERVER_CHANGED
    clock.advance(1)
    assert await ledger.commit(submission("op-2")) is CommitResult.OK


async def test_of_each_change_of_the_server_in_a_day_the_last_tick_is_kept(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    await ledger.request_sweep(1.0, "one")
    first = clock.now_ms()
    for name in ("second", "third"):
        server.hset("scaleout:epoch", "server", name)
        clock.advance(10)
        await ledger.request_sweep(1.0, "one")

    # A job from between the two is nobody's loss.
    middle = first + 10_000
    assert ledger.server_change == ServerChange(clock.now_ms(), middle, ((first, middle),))
    clock.advance(90_000)
    server.hset("scaleout:epoch", "server", "fourth")
    await ledger.request_sweep(1.0, "one")
    assert ledger.server_change is not None
    assert ledger.server_change.earlier == ()


async def test_an_ended_request_is_known_for_a_week_however_short_outcomes_are_kept(
    async_redis: Redis, clock: HandClock, server: redis.Redis
) -> None:
    ledger = Ledger(async_redis, Keys("scaleout"), clock, outcome_ttl_s=60, stream_maxlen=100)
    intake = Intake(ledger, coalesce_s=1.0, deadline_s=7200.0)
    await intake.accept(spec(), "task-1")
    request = await ledger.request("r-1")
    assert request is not None
    changes = ChangeSet()
    end_request(changes, request, "failed", clock.now_ms())
    await ledger.commit(changes)

    assert server.ttl("scaleout:outcome:r-1") <= 60
    assert server.ttl("scaleout:request:r-1") > 7 * 86_400 - 60
    server.delete("scaleout:outcome:r-1")
    again = await intake.accept(spec(), "task-2")
    assert isinstance(again, Ended)
    assert again.outcome["status"] == "failed"


async def test_a_ledger_belongs_to_one_account_until_another_is_acknowledged(ledger: Ledger) -> None:
    await ledger.claim_for_account("key-1")
    await ledger.claim_for_account("key-1")
    with pytest.raises(OtherAccount, match="acknowledge-account"):
        await ledger.claim_for_account("key-2")

    await ledger.acknowledge_account("key-2")

    await ledger.claim_for_account("key-2")


async def test_a_shell_with_another_account_cannot_ask_the_provider(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That its log has no job of ours would prove nothing."""
    await ledger.claim_for_account("key-1")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"SCALEOUT_{name}", "key-2")

    with pytest.raises(OtherAccount, match="another access key"):
        async with provider_of(ledger):
            pass


async def test_a_process_that_meets_only_conflicts_takes_nothing_for_lost(
    ledger: Ledger, server: redis.Redis
) -> None:
    await ledger.record(Event("first", in_journal=True))
    stale = ChangeSet()
    stale.write(Cluster(cluster_id="ehpc-a", version=7))
    # As 10,000 steps of other processes have left it: the ids of the first ones are gone.
    server.hincrby(ledger.keys.epoch, "count", 10_500)
    server.delete(ledger.keys.steps)

    assert await ledger.commit(stale) is CommitResult.CONFLICT
    await ledger.record(Event("second", in_journal=True))

    assert ledger.epoch.lost is False
    assert server.hget(ledger.keys.epoch, "lost") is None
