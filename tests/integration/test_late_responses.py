"""A definite answer that comes late: evidence is never thrown away, and what has ended stays as it is."""

import json
from typing import Any, cast

import pytest
import redis
from pydantic import SecretStr
from redis.exceptions import ConnectionError  # noqa: A004 - what redis-py raises

from config.settings import Settings
from tasks.contract.request import ScaleOutRequest
from tasks.ehpc.errors import Busy, InDoubt
from tasks.ehpc.listing import Listing
from tasks.ehpc.models import JobAccepted, JobRow, Page
from tasks.engine.decide import Checked, decide
from tasks.handlers.context import Context
from tasks.handlers.reconcile_operation import Seen, _decided
from tasks.handlers.record_response import record_response
from tasks.handlers.submit_operation import _send
from tasks.ledger.change_entries import OwnJob
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.ledger import Ledger
from tasks.ledger.record_values import Allocation, Assignment, Doubt, State
from tasks.ledger.records import Cluster, Operation, Request, Zone
from tasks.quota.rate_limiter import Grant
from tasks.runtime.clock import HandClock
from tasks.state_machine.decision_check import against_absence
from tasks.state_machine.resolution import CannotResolve
from tests.support.records import RULES

# Records are written by hand here, ended without the step that gives them a time to live.
pytestmark = pytest.mark.permanent_keys("scaleout:request:*", "scaleout:operation:*", "scaleout:history:*")


@pytest.fixture
def ctx(ledger: Ledger) -> Context:
    settings = Settings(access_key_id=SecretStr("id"), secret_access_key=SecretStr("key"))
    nothing = cast("Any", None)
    return Context(settings, ledger, nothing, nothing, ledger.clock)


async def given(ledger: Ledger, state: State, job_id: str | None = None) -> None:
    now = ledger.clock.now_ms()
    spec = ScaleOutRequest(request_id="r-1", cluster_id="ehpc-a", zone="jn1a", node_count=2)
    part = Assignment(operation_id="op-1", node_count=2, state=state, job_id=job_id)
    changes = ChangeSet()
    changes.write(
        Request(
            request_id="r-1",
            spec=spec,
            fingerprint=spec.fingerprint(),
            accepted_at=now,
            deadline_at=now + 7_200_000,
            assignments=(part,),
        ),
        Operation(
            operation_id="op-1",
            cluster_id="ehpc-a",
            zone="jn1a",
            node_role="compute",
            state=state,
            allocations=(Allocation(request_id="r-1", node_count=2),),
            planned_at=now,
            sent_at=now,
            body="{}",
            job_id=job_id,
        ),
        Cluster(cluster_id="ehpc-a", locked_by="op-1"),
    )
    await ledger.commit(changes)


async def the_operation(ledger: Ledger) -> Operation:
    operation = await ledger.operation("op-1")
    assert operation is not None
    return operation


@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT, State.HELD])
async def test_a_job_id_decides_whatever_the_operation_has_drifted_to(
    ctx: Context, ledger: Ledger, state: State
) -> None:
    await given(ledger, state)

    await record_response(ctx, "op-1", JobAccepted("j-1"))

    operation = await the_operation(ledger)
    assert (operation.state, operation.job_id) == (State.RUNNING, "j-1")
    assert await ledger.jobs("ehpc-a") == {"j-1": "op-1"}


@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT, State.HELD])
async def test_so_does_a_definite_refusal(ctx: Context, ledger: Ledger, state: State) -> None:
    await given(ledger, state)

    await record_response(ctx, "op-1", Busy("in transition"))

    assert (await the_operation(ledger)).state is State.REFUSED


@pytest.mark.parametrize("state", [State.NOT_EXECUTED, State.REFUSED, State.SUCCEEDED])
async def test_an_ended_operation_stays_as_it_is_and_owns_the_late_job(
    ctx: Context, ledger: Ledger, state: State
) -> None:
    await given(ledger, state)
    before = await the_operation(ledger)

    await record_response(ctx, "op-1", JobAccepted("j-late"))

    assert await the_operation(ledger) == before
    assert await ledger.jobs("ehpc-a") == {"j-late": "op-1"}
    (line,) = await ledger.overview.history("r-1")
    assert (line["event"], line["response_job_id"]) == ("late_response", "j-late")


async def test_an_operation_that_runs_as_another_job_is_held(ctx: Context, ledger: Ledger) -> None:
    await given(ledger, State.RUNNING, "j-adopted")

    await record_response(ctx, "op-1", JobAccepted("j-true"))

    operation = await the_operation(ledger)
    assert operation.state is State.HELD
    assert "j-true" in str(operation.held_reason)
    assert await ledger.overview.held_operations() == ["op-1"]


@pytest.mark.parametrize("answer", [JobAccepted("j-1"), InDoubt("late"), Busy("late")])
async def test_an_answer_that_agrees_or_says_nothing_changes_nothing(
    ctx: Context, ledger: Ledger, answer: Any
) -> None:
    await given(ledger, State.RUNNING, "j-1")
    before = await the_operation(ledger)

    await record_response(ctx, "op-1", answer)

    assert await the_operation(ledger) == before


async def test_an_answer_is_written_however_long_redis_is_away(
    ctx: Context, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await given(ledger, State.SUBMITTING)
    commit, attempts = ledger.commit, 0

    async def away_for_a_while(changes: ChangeSet) -> CommitResult:
        nonlocal attempts
        attempts += 1
        if attempts < 30:
            raise ConnectionError("the server is away")
        return await commit(changes)

    monkeypatch.setattr(ledger, "commit", away_for_a_while)
    began = ledger.clock.now_ms()

    await record_response(ctx, "op-1", JobAccepted("j-1"))

    assert (await the_operation(ledger)).job_id == "j-1"
    assert ledger.clock.now_ms() - began > 45_000


async def test_an_answer_for_an_operation_that_is_gone_is_only_logged(ctx: Context) -> None:
    await record_response(ctx, "op-gone", JobAccepted("j-1"))


async def test_the_response_to_an_operation_that_is_gone_proves_a_loss(ctx: Context, ledger: Ledger) -> None:
    await record_response(ctx, "op-gone", JobAccepted("j-kept"))

    assert await ledger.lost_since() is not None
    (line,) = await ledger.overview.journal()
    assert (line["event"], line["job_id"]) == ("response_for_unknown_operation", "j-kept")


@pytest.mark.parametrize("response", [JobAccepted("j-1"), InDoubt("no reply within 30 s")])
async def test_the_response_to_an_operation_that_is_planned_proves_a_loss(
    ctx: Context, ledger: Ledger, response: JobAccepted | InDoubt
) -> None:
    """A failover has lost the step that wrote it as sent. It must not be sent again."""
    await given(ledger, State.SUBMITTING)
    sent = await ledger.operation_snapshot("op-1")
    changes = ChangeSet()
    changes.write((await the_operation(ledger)).model_copy(update={"state": State.PLANNED, "sent_at": None}))
    await ledger.commit(changes)

    await record_response(ctx, "op-1", response, sent)

    operation, job_id = await the_operation(ledger), getattr(response, "job_id", None)
    assert sent is not None
    assert (operation.state, operation.sent_at) == (State.HELD, sent.operation.sent_at)
    assert operation.job_id == job_id
    assert await ledger.jobs("ehpc-a") == ({} if job_id is None else {job_id: "op-1"})
    assert await ledger.lost_since() is not None


async def test_a_refusal_of_an_operation_that_is_planned_leaves_it_planned(
    ctx: Context, ledger: Ledger
) -> None:
    await given(ledger, State.PLANNED)

    await record_response(ctx, "op-1", Busy("1400"))

    assert (await the_operation(ledger)).state is State.PLANNED
    assert await ledger.lost_since() is not None


async def test_a_response_is_kept_although_a_record_cannot_be_read(
    ctx: Context, ledger: Ledger, server: redis.Redis
) -> None:
    """A later version has written the request meanwhile, in its own schema."""
    await given(ledger, State.SUBMITTING)
    snapshot = await ledger.operation_snapshot("op-1")
    later = json.loads(str(server.hget("scaleout:request:r-1", "content"))) | {"schema_version": 99}
    server.hset("scaleout:request:r-1", "content", json.dumps(later))
    server.hincrby("scaleout:request:r-1", "version", 1)

    await ledger.unless_unreadable(record_response(ctx, "op-1", JobAccepted("j-1"), snapshot))

    assert await ledger.jobs("ehpc-a") == {"j-1": "op-1"}
    assert "response_kept" in {line["event"] for line in await ledger.overview.journal()}


async def test_a_job_of_another_operation_is_a_doubt(ctx: Context, ledger: Ledger) -> None:
    await given(ledger, State.SUBMITTING)
    changes = ChangeSet()
    changes.add(OwnJob("ehpc-other", "j-1", "op-other", 0, 0))
    await ledger.commit(changes)
    snapshot = await ledger.operation_snapshot("op-1")

    await record_response(ctx, "op-1", JobAccepted("j-1"), snapshot)

    operation = await the_operation(ledger)
    assert (operation.state, operation.job_id) == (State.IN_DOUBT, None)
    assert "belongs to operation op-other" in str(operation.doubt)


async def test_a_worker_that_resumes_after_its_lease_sends_nothing(
    ctx: Context, ledger: Ledger, clock: HandClock
) -> None:
    """It has no API at all here: a call would be an error."""
    await given(ledger, State.SUBMITTING)
    snapshot = await ledger.operation_snapshot("op-1")
    assert snapshot is not None
    clock.advance(ctx.lease_ms / 1000 + 1)

    await _send(ctx, snapshot, Grant(("call",)))

    operation = await the_operation(ledger)
    assert operation.state is State.REFUSED
    (line,) = [line for line in await ledger.overview.history("r-1") if line["event"] == "operation_refused"]
    assert "lease" in str(line)


@pytest.mark.parametrize("slow", [True, False])
async def test_a_listing_shows_what_was_there_when_it_began(
    ctx: Context, ledger: Ledger, clock: HandClock, slow: bool
) -> None:
    """Its reply takes an hour here, and a call may have been executed meanwhile."""
    await given(ledger, State.IN_DOUBT)
    began = clock.now_ms() + 1_000
    operation = await the_operation(ledger)
    changes = ChangeSet()
    seen_absent = {"absent_since": began, "listed_since": began, "baseline": ()}
    changes.write(operation.model_copy(update=seen_absent), Zone(zone="jn1a", action_seen=True))
    await ledger.commit(changes)
    clock.advance(3_600)
    listing = Listing[JobRow]()
    listing.add(Page((), total=0))

    seen = Seen(listed_at=began if slow else clock.now_ms(), listing=listing)
    await ledger.transact(lambda: _decided(ctx, "op-1", seen))

    assert (await the_operation(ledger)).state is (State.IN_DOUBT if slow else State.NOT_EXECUTED)


async def test_a_decision_is_not_taken_once_a_response_has_come(ctx: Context, ledger: Ledger) -> None:
    """A person was asked, and has answered minutes later."""
    await given(ledger, State.IN_DOUBT)
    checked = Checked(await the_operation(ledger), [])
    await record_response(ctx, "op-1", JobAccepted("j-1"))

    with pytest.raises(CannotResolve, match="moved on"):
        await decide(ledger, "op-1", None, checked, by="ann", reason=None)

    assert (await the_operation(ledger)).job_id == "j-1"


async def test_a_job_of_a_late_response_is_as_certain_as_of_any_other(ctx: Context, ledger: Ledger) -> None:
    await given(ledger, State.IN_DOUBT)
    changes = ChangeSet()
    doubt = Doubt(since=ledger.clock.now_ms(), reason="the lease expired")
    changes.write((await the_operation(ledger)).model_copy(update={"doubt": doubt}))
    await ledger.commit(changes)

    await record_response(ctx, "op-1", JobAccepted("j-1"))

    row = JobRow(job_id="j-1", job_action=RULES.job_action, status="pending")
    operation, listed_at = await the_operation(ledger), ledger.clock.now_ms() + 10_000_000
    found = against_absence(operation, [], RULES, listed_at=listed_at, flaws=[], own_job=row)
    assert [one.certain for one in found] == [True]
