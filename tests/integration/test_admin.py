"""What operators change, each act one step that the history records with a name."""

import pytest

from tasks import admin
from tasks.admin import CancelResult
from tasks.contract.request import ScaleOutRequest
from tasks.intake.accept import Intake
from tasks.ledger.change_entries import Index, Listed
from tasks.ledger.change_set import CommitResult
from tasks.ledger.ledger import Ledger
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation
from tasks.runtime.clock import HandClock
from tasks.state_machine.resolution import CannotResolve
from tests.support.records import cluster, operation, served, with_entries


async def accept(ledger: Ledger, request_id: str) -> None:
    fields = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2}
    intake = Intake(ledger, coalesce_s=1.0, deadline_s=7200.0)
    await intake.accept(ScaleOutRequest.model_validate(fields), None)


async def held(ledger: Ledger) -> Operation:
    """Write a request whose operation is held, as a commit would."""
    of = operation(state=State.HELD, version=0, held_reason="two jobs fit")
    changes = with_entries(
        Listed(Index.HELD, of.operation_id, 1), Listed(Index.OPEN, "r-1", ledger.clock.now_ms())
    )
    waiting = served(of, version=0)
    changes.write(of, waiting, cluster(locked_by=of.operation_id, version=0))
    assert await ledger.commit(changes) is CommitResult.OK
    return of


async def events(ledger: Ledger, request_id: str = "r-1") -> list[tuple[str, str | None]]:
    return [(line["event"], line.get("by")) for line in await ledger.overview.history(request_id)]


async def test_a_cancelled_request_ends_and_its_history_says_who(ledger: Ledger) -> None:
    await accept(ledger, "r-1")

    assert await admin.cancel(ledger, "r-1", by="ann") is CancelResult.CANCELLED
    assert await admin.cancel(ledger, "r-1", by="bob") is CancelResult.ENDED_BEFORE
    assert await admin.cancel(ledger, "nobody's", by="ann") is CancelResult.NOT_FOUND

    ended = await ledger.request("r-1")
    assert ended is not None
    assert ended.status == "cancelled"
    assert ("request_cancelled", "ann") in await events(ledger)


async def test_a_request_in_progress_is_cancelled_once(ledger: Ledger) -> None:
    await held(ledger)

    assert await admin.cancel(ledger, "r-1", by="ann") is CancelResult.CANCELLED
    assert await admin.cancel(ledger, "r-1", by="bob") is CancelResult.CANCELLED_BEFORE

    found = await ledger.request("r-1")
    assert found is not None
    assert (found.cancelled, found.ended) == (True, False)


async def test_a_pause_is_in_force_until_it_ends_or_is_lifted(ledger: Ledger, clock: HandClock) -> None:
    await admin.pause(ledger, None, by="ann", reason="racks", lasting_s=60)

    pause = (await ledger.pauses("ehpc-a")).in_force(clock.now_ms())
    assert pause is not None
    assert (pause.by, pause.reason) == ("ann", "racks")
    clock.advance(61)
    assert (await ledger.pauses("ehpc-a")).in_force(clock.now_ms()) is None

    assert await admin.resume(ledger, None, by="bob")
    assert not await admin.resume(ledger, None, by="bob")
    journal = [(line["event"], line["by"]) for line in await ledger.overview.journal()]
    assert journal == [("paused", "ann"), ("resumed", "bob")]


async def test_adopting_has_the_operation_run_as_the_job(ledger: Ledger) -> None:
    of = await held(ledger)

    await admin.resolve(ledger, of.operation_id, adopt_job="j-7", by="ann", reason="seen")

    found = await ledger.operation(of.operation_id)
    assert found is not None
    assert (found.state, found.job_id) == (State.RUNNING, "j-7")
    assert await ledger.jobs("ehpc-a") == {"j-7": of.operation_id}
    assert ("operation_adopted", "ann") in await events(ledger)


async def test_not_executed_returns_the_nodes_to_demand_and_releases_the_cluster(ledger: Ledger) -> None:
    of = await held(ledger)

    await admin.resolve(ledger, of.operation_id, adopt_job=None, by="ann", reason=None)

    found, waiting = await ledger.operation(of.operation_id), await ledger.request("r-1")
    assert found is not None
    assert waiting is not None
    assert (found.state, waiting.unassigned_nodes) == (State.NOT_EXECUTED, of.node_count)
    assert (await ledger.cluster("ehpc-a")).locked_by is None
    assert ("operation_resolved", "ann") in await events(ledger)


async def test_what_was_sent_and_has_not_ended_can_be_decided(ledger: Ledger) -> None:
    of = await held(ledger)
    await admin.resolve(ledger, of.operation_id, adopt_job="j-7", by="ann", reason=None)
    await admin.resolve(ledger, of.operation_id, adopt_job="j-8", by="bob", reason="a slip")

    found = await ledger.operation(of.operation_id)
    assert found is not None
    assert (found.state, found.job_id, found.insisted) == (State.RUNNING, "j-8", False)
    assert list(await ledger.running("jn1a")) == ["j-8"]

    await admin.resolve(ledger, of.operation_id, adopt_job=None, by="bob", reason=None)

    for adopt_job in (None, "j-9"):
        with pytest.raises(CannotResolve, match="is not_executed: its nodes were requested again"):
            await admin.resolve(ledger, of.operation_id, adopt_job=adopt_job, by="bob", reason=None)
    with pytest.raises(CannotResolve, match="is gone"):
        await admin.resolve(ledger, "op-unknown", adopt_job=None, by="bob", reason=None)
