"""What the log says about an operation in doubt, case by case."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.ehpc.models import OperationRow
from tasks.ledger.records import Allocation, Operation, State
from tasks.state_machine.decision import (
    Absent,
    Adopt,
    CountNodes,
    Hold,
    Judgement,
    LookAgain,
    Timings,
    candidates_of,
    judge,
)

SENT = 1_700_000_000_000
TIMINGS = Timings(signature_ttl_ms=60_000, http_timeout_ms=30_000, lag_ms=10_000, poll_ms=5_000)
TAKEN_UNTIL = SENT + 60_000 + 5_000
SHOWN_UNTIL = TAKEN_UNTIL + 10_000
SILENCE_COUNTS = SHOWN_UNTIL + 30_000
ACTION = "HpcClusterAddClusterNodes"
NODES = ("cln-1", "cln-2", "cln-3")


def operation(**more: Any) -> Operation:
    given = {
        "operation_id": "op-1",
        "cluster_id": "ehpc-a",
        "zone": "jn1a",
        "node_role": "compute",
        "state": State.IN_DOUBT,
        "allocations": (Allocation(request_id="r-1", node_count=3),),
        "planned_at": SENT - 1000,
        "sent_at": SENT,
        "baseline": ("j-before",),
    }
    return Operation(**{**given, **more})


def row(
    job_id: str = "j-new", *, nodes: tuple[str, ...] = NODES, at: int = SENT, **more: Any
) -> OperationRow:
    given = {
        "job_id": job_id,
        "status": "successful",
        "job_action": ACTION,
        "create_time": datetime.fromtimestamp(at / 1000, UTC),
        "resource_ids": " ".join(["ehpc-a", *nodes]),
    }
    return OperationRow.model_validate({**given, **more})


def judged(*rows: OperationRow, at: int = SILENCE_COUNTS + 1, **more: Any) -> Judgement:
    about = {"action_seen": True, "job_action": ACTION, "timings": TIMINGS}
    of = more.pop("of", operation())
    return judge(of, rows, listed_at=at, **{**about, **more})


def test_what_was_there_before_or_is_another_operations_is_no_candidate() -> None:
    listing = [row("j-before"), row("j-other"), row("j-new")]

    found = candidates_of(operation(), listing, ["j-other"])

    assert [candidate.job_id for candidate in found] == ["j-new"]


def test_one_job_with_the_nodes_that_were_sent_is_adopted() -> None:
    assert judged(row()) == Adopt("j-new")


def test_a_failed_job_with_fewer_nodes_is_adopted() -> None:
    assert judged(row(status="failed", nodes=("cln-1",))) == Adopt("j-new")


@pytest.mark.parametrize(
    ("status", "counted", "adopted"),
    [
        ("successful", 3, True),
        ("successful", 2, False),
        ("successful", 4, False),
        ("successful", 0, False),
        ("failed", 0, True),
        ("failed", 3, True),
        ("failed", 4, False),
    ],
)
def test_a_job_without_node_ids_is_told_by_the_nodes_that_were_made(
    status: str, counted: int, adopted: bool
) -> None:
    job = row(status=status, nodes=())

    assert judged(job) == CountNodes(job)
    judgement = judged(job, nodes_counted=counted)

    assert judgement == Adopt("j-new") if adopted else isinstance(judgement, Hold)


@pytest.mark.parametrize("at", [SENT, TAKEN_UNTIL, SHOWN_UNTIL])
def test_nothing_is_adopted_while_a_job_of_ours_could_still_appear(at: int) -> None:
    assert judged(row(), at=at) == LookAgain(SHOWN_UNTIL + 1)
    assert judged(row(), at=SHOWN_UNTIL + 1) == Adopt("j-new")


@pytest.mark.parametrize("status", ["pending", "working", "scaling"])
def test_a_job_that_is_still_going_is_waited_for(status: str) -> None:
    judgement = judged(row(status=status, nodes=()))

    assert isinstance(judgement, LookAgain)
    assert judgement.at > SILENCE_COUNTS


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([row("j-1"), row("j-2")], "nothing tells which: j-1, j-2"),
        ([row(nodes=("cln-1",))], "it has brought 1 nodes"),
        ([row(nodes=(*NODES, "cln-4"))], "4 nodes"),
        ([row(status="failed", nodes=(*NODES, "cln-4"))], "4 nodes"),
        ([row(status="pending", nodes=(*NODES, "cln-4"))], "4 nodes"),
        ([row(job_action="HpcClusterDeleteClusterNodes")], "its action is"),
        ([row(job_action="")], "its action is"),
        ([row(at=SENT - 7_000)], "made before ours was sent"),
        ([row(at=TAKEN_UNTIL + 2_000)], "could not be taken any more"),
    ],
)
def test_what_contradicts_is_held_with_the_reason(rows: list[OperationRow], says: str) -> None:
    judgement = judged(*rows)

    assert isinstance(judgement, Hold)
    assert says in judgement.because


@pytest.mark.parametrize("at", [SENT - 5_000, TAKEN_UNTIL])
def test_clocks_that_differ_by_a_few_seconds_are_no_contradiction(at: int) -> None:
    assert judged(row(at=at)) == Adopt("j-new")


def test_a_job_whose_time_is_not_told_may_be_ours() -> None:
    assert judged(row(create_time="")) == Adopt("j-new")


def test_silence_counts_only_when_signature_timeout_and_lag_are_over() -> None:
    assert judged(at=SENT + 1) == LookAgain(SHOWN_UNTIL + 1)
    assert judged(at=SHOWN_UNTIL + 1) == LookAgain(SILENCE_COUNTS + 1)
    assert judged(at=SILENCE_COUNTS) == LookAgain(SILENCE_COUNTS + 1)


def test_absence_takes_two_listings_a_lag_apart() -> None:
    first = SILENCE_COUNTS + 1
    assert judged(at=first) == LookAgain(first + 10_000, absent_since=first)

    seen = operation(absent_since=first)
    assert judged(of=seen, at=first + 9_999) == LookAgain(first + 10_000, absent_since=first)
    assert judged(of=seen, at=first + 10_000) == Absent()


def test_the_silence_of_a_log_that_never_showed_a_job_of_ours_is_held() -> None:
    judgement = judged(action_seen=False)

    assert isinstance(judgement, Hold)
    assert "proves nothing" in judgement.because


@pytest.mark.parametrize("missing", ["sent_at", "baseline"])
def test_an_operation_without_its_evidence_is_held(missing: str) -> None:
    assert isinstance(judged(of=operation(**{missing: None})), Hold)
