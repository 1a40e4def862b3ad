"""Records, entries and texts that this version cannot read are left alone, one by one, visibly."""

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
import redis
from pydantic import SecretStr
from structlog.testing import capture_logs

from config.settings import Settings
from tasks.contract.request import ScaleOutRequest
from tasks.handlers.context import Context
from tasks.handlers.count_nodes import finish_job
from tasks.handlers.publish_progress import TaskStatus, publish_progress
from tasks.intake.accept import Intake
from tasks.ledger.change_entries import ForgetPool, OwnJob
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.due import Due, DueKind, Lane
from tasks.ledger.ledger import Ledger
from tasks.ledger.migrations import UnreadableRecord
from tasks.ledger.pauses import Pauses
from tasks.ledger.record import SCHEMA
from tasks.ledger.record_values import Allocation, JobResult, State
from tasks.ledger.records import Account, Arrivals, Cluster, Operation
from tasks.ledger.snapshots import ClusterSnapshot
from tasks.runtime.clock import HandClock
from tasks.state_machine.planning import Plan, PlanRules, plan_cluster
from tasks.state_machine.request_outcome import end_request

pytestmark = pytest.mark.permanent_keys("scaleout:request:*", "scaleout:operation:*", "scaleout:history:*")

RULES = PlanRules(coalesce_ms=0, lease_ms=45_000, probe_ms=1_000)


def spec(request_id: str, **fields: object) -> ScaleOutRequest:
    given = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2, **fields}
    return ScaleOutRequest.model_validate(given)


@pytest.fixture
async def intake(ledger: Ledger) -> Intake:
    intake = Intake(ledger, coalesce_s=0.0, deadline_s=7200.0)
    for name in ("r-1", "r-2"):
        await intake.accept(spec(name), f"task-{name}")
    return intake


def rewrite(server: redis.Redis, key: str, **fields: object) -> None:
    """Change a record's fields as a later version might; `spec_x` is the field `x` of its content."""
    content: dict[str, Any] = json.loads(str(server.hget(key, "content")))
    for name, value in fields.items():
        place = content["spec"] if name.startswith("spec_") else content
        place[name.removeprefix("spec_")] = value
    server.hset(key, "content", json.dumps(content, separators=(",", ":")))


async def plan(ledger: Ledger, clock: HandClock) -> Plan:
    snapshot = await ledger.cluster_snapshot("ehpc-a")
    planned = plan_cluster(snapshot, RULES, now=clock.now_ms(), operation_id="op-1")
    assert await ledger.commit(planned.changes) is CommitResult.OK
    return planned


@pytest.mark.usefixtures("intake")
async def test_a_field_that_only_another_version_knows_stops_nothing_and_is_kept(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    rewrite(server, "scaleout:request:r-1", spec_image="img-1", spec_on_shortage="queue", priority=7)

    planned = await plan(ledger, clock)

    assert [request.request_id for request in planned.serves] == ["r-1", "r-2"]
    content = json.loads(str(server.hget("scaleout:request:r-1", "content")))
    assert (content["spec"]["image"], content["spec"]["on_shortage"]) == ("img-1", "queue")
    assert (content["priority"], content.get("unassigned_nodes", 0)) == (
        7,
        0,
    )


@pytest.mark.parametrize("damage", [{"schema_version": SCHEMA + 1}, {"accepted_at": "yesterday"}])
@pytest.mark.usefixtures("intake")
async def test_an_unreadable_request_keeps_no_other_from_being_planned(
    ledger: Ledger, server: redis.Redis, clock: HandClock, damage: dict[str, object]
) -> None:
    rewrite(server, "scaleout:request:r-1", **damage)

    with capture_logs() as logs:
        planned = await plan(ledger, clock)
        await ledger.cluster_snapshot("ehpc-a")

    assert [request.request_id for request in planned.serves] == ["r-2"]
    assert not [entry for entry in planned.changes.entries if isinstance(entry, ForgetPool)]
    assert [entry["key"] for entry in logs if entry["event"] == "record_unreadable"] == [
        "scaleout:request:r-1"
    ]
    (problem,) = (await ledger.overview.unreadable()).values()
    assert "cannot be read by this version" in problem


@pytest.mark.usefixtures("intake")
async def test_a_cluster_with_unreadable_requests_alone_is_planned_again_later(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    for name in ("r-1", "r-2"):
        rewrite(server, f"scaleout:request:{name}", accepted_at="yesterday")

    planned = await plan(ledger, clock)

    assert planned.operation is None
    assert server.scard("scaleout:pools:ehpc-a") == 1
    assert server.zscore("scaleout:due:submissions", "cluster:ehpc-a") == clock.now_ms() + 60_000


@pytest.mark.usefixtures("intake")
async def test_what_can_be_read_again_is_no_longer_listed(ledger: Ledger, server: redis.Redis) -> None:
    before = str(server.hget("scaleout:request:r-1", "content"))
    rewrite(server, "scaleout:request:r-1", accepted_at="yesterday")
    await ledger.cluster_snapshot("ehpc-a")
    assert len(await ledger.overview.unreadable()) == 1

    server.hset("scaleout:request:r-1", "content", before)

    assert await ledger.overview.unreadable() == {}
    assert server.zcard("scaleout:unreadable") == 0


async def operations(ledger: Ledger, *names: str) -> None:
    changes = ChangeSet()
    for name in names:
        changes.write(
            Operation(
                operation_id=name,
                cluster_id=f"ehpc-{name}",
                zone="jn1a",
                node_role="compute",
                state=State.RUNNING,
                allocations=(Allocation(request_id="r-1" if name == "op-a" else "r-2", node_count=1),),
                planned_at=ledger.clock.now_ms(),
            )
        )
    assert await ledger.commit(changes) is CommitResult.OK


@pytest.mark.parametrize("key", ["operation:op-a", "request:r-1", "cluster:ehpc-op-a", "pause:ehpc-op-a"])
@pytest.mark.usefixtures("intake")
async def test_an_unreadable_record_blinds_its_operation_and_no_other(
    ledger: Ledger, server: redis.Redis, key: str
) -> None:
    await operations(ledger, "op-a", "op-b")
    server.hset(f"scaleout:{key}", mapping={"version": 1, "content": "[]"})

    assert list(await ledger.operation_snapshots(["op-a", "op-b"])) == ["op-b"]
    # A step of this one operation must not take it for one that is gone: that would be a loss of data.
    with pytest.raises(UnreadableRecord, match="cannot be read"):
        await ledger.operation_snapshot("op-a")
    server.delete(f"scaleout:{key}")


async def test_an_entry_of_an_unknown_kind_keeps_back_none_that_is_claimed_with_it(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    entries = ("cluster:ehpc-a", "scaling-in:ehpc-a", "no kind", "submission:op-1")
    server.zadd("scaleout:due:submissions", dict.fromkeys(entries, clock.now_ms() - 1))

    with capture_logs() as logs:
        found = await ledger.claim_due(Lane.SUBMISSIONS, 10, 45)

    assert found == [Due(DueKind.CLUSTER, "ehpc-a"), Due(DueKind.SUBMISSION, "op-1")]
    assert len([entry for entry in logs if entry["event"] == "record_unreadable"]) == 2
    assert sorted(await ledger.overview.unreadable()) == [
        "scaleout:due:submissions no kind",
        "scaleout:due:submissions scaling-in:ehpc-a",
    ]
    server.delete("scaleout:due:submissions")


@pytest.mark.parametrize("text", ["", "not JSON", "[1]"])
async def test_an_outcome_that_somebody_has_overwritten_is_rebuilt(
    intake: Intake, ledger: Ledger, server: redis.Redis, clock: HandClock, text: str
) -> None:
    request = await ledger.request("r-1")
    assert request is not None
    changes = ChangeSet()
    end_request(changes, request, "failed", clock.now_ms())
    await ledger.commit(changes)
    (told,) = changes.outcomes
    server.set("scaleout:outcome:r-1", text, ex=60)

    assert await ledger.outcomes(["r-1"]) == [told.model_dump(mode="json")]
    assert await intake.accept(spec("r-1"), "task-2") is not None
    assert ("task-2", "r-1") in await ledger.outbox(10)


async def test_lines_of_another_shape_are_shown_or_passed_over(ledger: Ledger, server: redis.Redis) -> None:
    server.rpush("scaleout:journal", '{"at": "now", "event": "paused"}', "not JSON")
    server.rpush("scaleout:durations:ehpc-a:p", "{}", '{"ms": 1, "nodes": 2, "ok": true, "at": 3, "new": 4}')
    server.zadd("scaleout:pools-seen", {"[]": 1})

    assert [line["event"] for line in await ledger.overview.journal()] == ["paused", "unreadable"]
    assert [known.ms for known in await ledger.overview.durations("ehpc-a", "p")] == [1]
    assert await ledger.overview.pools_seen() == []
    server.delete("scaleout:journal", "scaleout:durations:ehpc-a:p", "scaleout:pools-seen")


def test_a_cluster_without_unreadable_requests_forgets_its_empty_pools() -> None:
    snapshot = ClusterSnapshot(
        Cluster(cluster_id="ehpc-a"),
        Account(),
        Pauses.none("ehpc-a"),
        {"p": [], "q": []},
        Arrivals(cluster_id="ehpc-a"),
        frozenset({"q"}),
    )

    planned = plan_cluster(snapshot, RULES, now=1_000, operation_id="op-1")

    assert planned.changes.entries == [ForgetPool("ehpc-a", "p")]


@pytest.mark.usefixtures("intake")
async def test_an_unreadable_cluster_keeps_no_other_task_from_being_told(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    intake = Intake(ledger, coalesce_s=0.0, deadline_s=7200.0)
    await intake.accept(spec("r-3", cluster_id="ehpc-b"), "task-r-3")
    server.hset("scaleout:cluster:ehpc-a", mapping={"version": 1, "content": "{"})
    told: dict[str, str] = {}

    async def tell(states: Sequence[TaskStatus]) -> None:
        told.update((task_id, document["reason"]["kind"]) for task_id, document in states)

    clock.advance(1)
    nothing = cast("Any", None)
    settings = Settings(access_key_id=SecretStr("id"), secret_access_key=SecretStr("key"))
    assert await publish_progress(Context(settings, ledger, nothing, nothing, clock), tell)

    assert told == {"task-r-1": "ledger", "task-r-2": "ledger", "task-r-3": "worker"}


@pytest.mark.usefixtures("intake")
async def test_a_poll_finishes_a_job_although_an_earlier_one_cannot_be_read(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    """Whose the nodes are that the log names cannot be told then: they are counted, by a step of its own."""
    planned = await plan(ledger, clock)
    assert planned.operation is not None
    server.hset("scaleout:operation:op-0", mapping={"content": json.dumps({"schema_version": 99})})
    changes = ChangeSet()
    changes.write(planned.changes.written(planned.operation).model_copy(update={"state": State.RUNNING}))
    changes.add(OwnJob("ehpc-a", "j-0", "op-0", clock.now_ms(), 0))
    assert await ledger.commit(changes) is CommitResult.OK
    snapshot = await ledger.operation_snapshot("op-1")
    assert snapshot is not None
    settings = Settings(access_key_id=SecretStr("id"), secret_access_key=SecretStr("key"))
    ctx = Context(settings, ledger, cast("Any", None), cast("Any", None), clock)
    names = tuple(f"cln-{number}" for number in range(snapshot.operation.node_count))

    await finish_job(ctx, snapshot, JobResult(successful=True, ended_at=clock.now_ms(), node_ids=names))

    operation = await ledger.operation("op-1")
    assert operation is not None
    assert (operation.state, operation.job_result is not None) == (State.RUNNING, True)
