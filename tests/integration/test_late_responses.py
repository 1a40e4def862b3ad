"""A definite answer that comes late: evidence is never thrown away, and what has ended stays as it is."""

from __future__ import annotations

from typing import Any, cast

import pytest
from pydantic import SecretStr
from redis.exceptions import ConnectionError  # noqa: A004 - what redis-py raises

from config.settings import Settings
from tasks.contract.request import ScaleOutRequest
from tasks.ehpc.errors import Busy, InDoubt
from tasks.ehpc.models import JobAccepted
from tasks.handlers.context import Machinery
from tasks.handlers.submit_operation import record_answer
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Allocation, Cluster, Operation, Request, Share, State


@pytest.fixture
def machinery(ledger: Ledger) -> Machinery:
    settings = Settings(access_key_id=SecretStr("id"), secret_access_key=SecretStr("key"))
    nothing = cast("Any", None)
    return Machinery(settings, ledger, nothing, nothing, ledger.clock)


async def given(ledger: Ledger, state: State, job_id: str | None = None) -> None:
    now = ledger.clock.now_ms()
    form = ScaleOutRequest(request_id="r-1", cluster_id="ehpc-a", zone="jn1a", node_count=2)
    share = Share(operation_id="op-1", node_count=2, state=state, job_id=job_id)
    changes = Changes()
    changes.put(
        Request(
            request_id="r-1",
            asked=form,
            fingerprint=form.fingerprint(),
            accepted_at=now,
            deadline_at=now + 7_200_000,
            shares=(share,),
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
            job_id=job_id,
        ),
        Cluster(cluster_id="ehpc-a", gate="op-1"),
    )
    await ledger.commit(changes)


async def the_operation(ledger: Ledger) -> Operation:
    operation = await ledger.operation("op-1")
    assert operation is not None
    return operation


@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT, State.HELD])
async def test_a_job_id_decides_whatever_the_operation_has_drifted_to(
    machinery: Machinery, ledger: Ledger, state: State
) -> None:
    await given(ledger, state)

    await record_answer(machinery, "op-1", JobAccepted("j-1"))

    operation = await the_operation(ledger)
    assert (operation.state, operation.job_id) == (State.RUNNING, "j-1")
    assert await ledger.jobs("ehpc-a") == {"j-1": "op-1"}


@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT, State.HELD])
async def test_so_does_a_definite_refusal(machinery: Machinery, ledger: Ledger, state: State) -> None:
    await given(ledger, state)

    await record_answer(machinery, "op-1", Busy("in transition"))

    assert (await the_operation(ledger)).state is State.REFUSED


@pytest.mark.parametrize("state", [State.ABSENT, State.REFUSED, State.SUCCEEDED])
async def test_what_has_ended_stays_but_the_job_is_its_own_and_the_history_tells(
    machinery: Machinery, ledger: Ledger, state: State
) -> None:
    await given(ledger, state)
    before = await the_operation(ledger)

    await record_answer(machinery, "op-1", JobAccepted("j-late"))

    assert await the_operation(ledger) == before
    assert await ledger.jobs("ehpc-a") == {"j-late": "op-1"}
    (line,) = await ledger.overview.history("r-1")
    assert (line["event"], line["answered_job_id"]) == ("late_answer", "j-late")


async def test_an_operation_that_runs_as_another_job_is_held(machinery: Machinery, ledger: Ledger) -> None:
    await given(ledger, State.RUNNING, "j-adopted")

    await record_answer(machinery, "op-1", JobAccepted("j-true"))

    operation = await the_operation(ledger)
    assert operation.state is State.HELD
    assert "j-true" in str(operation.held_because)
    assert await ledger.overview.held_operations() == ["op-1"]


@pytest.mark.parametrize("answer", [JobAccepted("j-1"), InDoubt("late"), Busy("late")])
async def test_an_answer_that_agrees_or_says_nothing_changes_nothing(
    machinery: Machinery, ledger: Ledger, answer: Any
) -> None:
    await given(ledger, State.RUNNING, "j-1")
    before = await the_operation(ledger)

    await record_answer(machinery, "op-1", answer)

    assert await the_operation(ledger) == before


async def test_an_answer_is_written_however_long_redis_is_away(
    machinery: Machinery, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await given(ledger, State.SUBMITTING)
    commit, tries = ledger.commit, 0

    async def away_for_a_while(changes: Changes) -> Committed:
        nonlocal tries
        tries += 1
        if tries < 30:
            raise ConnectionError("the server is away")
        return await commit(changes)

    monkeypatch.setattr(ledger, "commit", away_for_a_while)
    began = ledger.clock.now_ms()

    await record_answer(machinery, "op-1", JobAccepted("j-1"))

    assert (await the_operation(ledger)).job_id == "j-1"
    assert ledger.clock.now_ms() - began > 45_000


async def test_an_answer_for_an_operation_that_is_gone_is_only_logged(machinery: Machinery) -> None:
    await record_answer(machinery, "op-gone", JobAccepted("j-1"))
