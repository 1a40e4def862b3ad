"""What the log says about an operation in doubt, case by case."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.ehpc.models import JobRow
from tasks.ledger.record_values import Allocation, State
from tasks.ledger.records import Operation
from tasks.state_machine.decision import (
    Adopt,
    Decision,
    Hold,
    NeedsNodeCount,
    NeedsZoneListing,
    NotExecuted,
    RetryAt,
    candidates_of,
    clock_flaws,
    decide,
)
from tests.support.records import ACTION, RULES

SENT = 1_700_000_000_000
EXECUTED_UNTIL = SENT + 60_000 + 5_000
SHOWN_UNTIL = EXECUTED_UNTIL + 10_000
SILENCE_COUNTS = SHOWN_UNTIL + 30_000
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


def row(job_id: str = "j-new", *, nodes: tuple[str, ...] = NODES, at: int = SENT, **more: Any) -> JobRow:
    given = {
        "job_id": job_id,
        "status": "successful",
        "job_action": ACTION,
        "create_time": datetime.fromtimestamp(at / 1000, UTC),
        "resource_ids": " ".join(["ehpc-a", *nodes]),
    }
    return JobRow.model_validate({**given, **more})


def decided(*rows: JobRow, at: int = SILENCE_COUNTS + 1, **more: Any) -> Decision:
    rules = replace(RULES, action_seen=more.pop("action_seen", True))
    of = more.pop("of", operation())
    return decide(of, rows, rules, listed_at=at, **more)


def test_what_was_there_before_or_is_another_operations_is_no_candidate() -> None:
    listing = [row("j-before"), row("j-other"), row("j-new")]

    found = candidates_of(operation(), listing, ["j-other"])

    assert [candidate.job_id for candidate in found] == ["j-new"]


def test_one_job_with_the_nodes_that_were_sent_is_adopted() -> None:
    assert decided(row()) == Adopt("j-new")


def test_a_failed_job_with_fewer_nodes_is_adopted() -> None:
    assert decided(row(status="failed", nodes=("cln-1",))) == Adopt("j-new")


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
def test_a_job_without_node_ids_is_identified_by_the_nodes_made_meanwhile(
    status: str, counted: int, adopted: bool
) -> None:
    job = row(status=status, nodes=())

    assert decided(job) == NeedsNodeCount(job)
    decision = decided(job, nodes_counted=counted)

    assert decision == Adopt("j-new") if adopted else isinstance(decision, Hold)


@pytest.mark.parametrize("at", [SENT, EXECUTED_UNTIL, SHOWN_UNTIL])
def test_nothing_is_adopted_while_a_job_of_ours_could_still_appear(at: int) -> None:
    assert decided(row(), at=at) == RetryAt(SHOWN_UNTIL + 1)
    assert decided(row(), at=SHOWN_UNTIL + 1) == Adopt("j-new")


@pytest.mark.parametrize("status", ["pending", "working", "scaling"])
def test_a_job_that_is_still_going_is_waited_for(status: str) -> None:
    decision = decided(row(status=status, nodes=()))

    assert isinstance(decision, RetryAt)
    assert decision.at > SILENCE_COUNTS


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([row("j-1"), row("j-2")], "nothing shows which: j-1, j-2"),
        ([row(nodes=("cln-1",))], "it has added 1 nodes"),
        ([row(nodes=(*NODES, "cln-4"))], "4 nodes"),
        ([row(status="failed", nodes=(*NODES, "cln-4"))], "4 nodes"),
        ([row(status="pending", nodes=(*NODES, "cln-4"))], "4 nodes"),
        ([row(job_action="HpcClusterDeleteClusterNodes")], "its action is"),
        ([row(job_action="")], "its action is"),
        ([row(at=SENT - 7_000)], "made before the call was sent"),
        ([row(at=EXECUTED_UNTIL + 2_000)], "could not be executed any more"),
    ],
)
def test_what_contradicts_is_held_with_the_reason(rows: list[JobRow], says: str) -> None:
    decision = decided(*rows)

    assert isinstance(decision, Hold)
    assert says in decision.reason


@pytest.mark.parametrize("at", [SENT - 5_000, EXECUTED_UNTIL])
def test_clocks_that_differ_by_a_few_seconds_are_no_contradiction(at: int) -> None:
    assert decided(row(at=at)) == Adopt("j-new")


def test_a_job_without_a_creation_time_may_be_ours() -> None:
    assert decided(row(create_time="")) == Adopt("j-new")


def test_silence_counts_only_when_signature_timeout_and_lag_are_over() -> None:
    assert decided(at=SENT + 1) == RetryAt(SHOWN_UNTIL + 1)
    assert decided(at=SHOWN_UNTIL + 1) == RetryAt(SILENCE_COUNTS + 1)
    assert decided(at=SILENCE_COUNTS) == RetryAt(SILENCE_COUNTS + 1)


def test_absence_takes_two_listings_a_lag_apart() -> None:
    first = SILENCE_COUNTS + 1
    assert decided(at=first) == RetryAt(first + 10_000, absent_since=first)

    seen = operation(absent_since=first)
    assert decided(of=seen, at=first + 9_999) == RetryAt(first + 10_000, absent_since=first)
    assert decided(of=seen, at=first + 10_000) == NotExecuted()


def test_the_silence_of_a_log_without_our_jobs_is_held() -> None:
    assert decided(action_seen=False) == NeedsZoneListing()

    decision = decided(action_seen=False, zone_listed=True)

    assert isinstance(decision, Hold)
    assert "proves nothing" in decision.reason


@pytest.mark.parametrize("rows", [[], [row()], [row("j-1"), row("j-2")]])
def test_a_listing_with_flaws_decides_nothing_until_it_is_overdue(rows: list[JobRow]) -> None:
    flaws = ["it ended after 1 of 2 rows"]
    seen = operation(absent_since=SENT)

    assert isinstance(decided(*rows, of=seen, flaws=flaws), RetryAt)
    decision = decided(*rows, of=seen, flaws=flaws, overdue=True)

    assert isinstance(decision, Hold)
    assert flaws[0] in decision.reason


def test_a_job_that_does_not_end_is_held_once_it_is_overdue() -> None:
    decision = decided(row(status="scaling", nodes=()), overdue=True)

    assert isinstance(decision, Hold)
    assert "'scaling'" in decision.reason


def test_a_job_of_unknown_age_is_held_if_the_baseline_was_incomplete() -> None:
    unread = operation(baseline_complete=False)

    assert decided(row(), of=unread) == Adopt("j-new")
    assert isinstance(decided(row(create_time=None), of=unread), Hold)


@pytest.mark.parametrize("missing", ["sent_at", "baseline"])
def test_an_operation_without_its_evidence_is_held(missing: str) -> None:
    assert isinstance(decided(of=operation(**{missing: None})), Hold)


def test_times_prove_nothing_while_clocks_disagree_or_ours_was_just_set() -> None:
    steady = RULES.shown_until(0)

    assert clock_flaws(None, steady, SENT, RULES) == []
    assert clock_flaws(5.0, steady, SENT, RULES) == clock_flaws(-5.0, steady, SENT, RULES) == []
    assert len(clock_flaws(5.1, steady, SENT, RULES)) == 1
    assert len(clock_flaws(-120.0, steady, SENT, RULES)) == 1
    assert len(clock_flaws(0.0, steady - 1, SENT, RULES)) == 1
