"""What a request waits for, as it is read from the ledger in one round trip."""

import pytest
import redis

from tasks.intake.accept import Accepted, Intake
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.ledger import Ledger
from tasks.ledger.record import Record
from tasks.ledger.record_values import State
from tasks.runtime.clock import HandClock
from tasks.views.read_status import read_status
from tasks.views.status import StatusReason
from tests.support.records import cluster, operation
from tests.support.requests import request_for

pytestmark = pytest.mark.permanent_keys("scaleout:*")


async def reason(ledger: Ledger) -> StatusReason:
    found = await ledger.request("r-1")
    assert found is not None
    status = await read_status(ledger, found)
    assert status.reason is not None
    return status.reason


async def write(ledger: Ledger, *records: Record) -> None:
    changes = ChangeSet()
    changes.write(*records)
    assert await ledger.commit(changes) is CommitResult.OK


@pytest.fixture
async def accepted(ledger: Ledger) -> Accepted:
    intake = Intake(ledger, coalesce_s=0.0, deadline_s=7200.0)
    answer = await intake.accept(request_for(), None)
    assert isinstance(answer, Accepted)
    return answer


async def test_the_answer_has_the_request_as_it_was_written(ledger: Ledger, accepted: Accepted) -> None:
    written = await ledger.request("r-1")

    assert accepted.request is not None
    assert accepted.request.model_copy(update={"version": 1}) == written


@pytest.mark.usefixtures("accepted")
async def test_without_a_worker_it_waits_for_one(ledger: Ledger, clock: HandClock) -> None:
    assert (await reason(ledger)).message == "no worker has ticked yet"

    await ledger.request_sweep(1.0, "worker@here")
    assert (await reason(ledger)).kind == "planning"

    clock.advance(61)
    assert (await reason(ledger)).message == "no worker has ticked for 61 s"


@pytest.mark.usefixtures("accepted")
async def test_it_names_the_operation_that_locks_its_cluster(ledger: Ledger, server: redis.Redis) -> None:
    await write(ledger, cluster(locked_by="op-1", version=0))
    assert (await reason(ledger)).message == "operation op-1 is changing cluster ehpc-a"

    await write(ledger, operation(state=State.HELD, held_reason="who knows", version=0))
    held = await reason(ledger)
    assert (held.kind, held.remedy) == ("cluster_lock", "scaleout resolve op-1")
    assert held.message.endswith("who knows")

    server.hset("scaleout:operation:op-1", "content", "not a record")
    assert (await reason(ledger)).message == "operation op-1 is changing cluster ehpc-a"
    assert server.zrange("scaleout:unreadable", 0, -1) == ["scaleout:operation:op-1"]


@pytest.mark.usefixtures("accepted")
async def test_a_cluster_that_cannot_be_read_is_named(ledger: Ledger, server: redis.Redis) -> None:
    server.hset("scaleout:cluster:ehpc-a", mapping={"version": 1, "content": "not a record"})

    found = await reason(ledger)

    assert (found.kind, found.remedy) == ("ledger", "scaleout doctor")
    assert "scaleout:cluster:ehpc-a" in found.message
