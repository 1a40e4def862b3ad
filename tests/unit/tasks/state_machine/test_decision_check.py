"""What speaks against an operator's decision, case by case."""

from typing import Any

import pytest

from tasks.ehpc.models import JobRow
from tasks.ledger.record_values import Doubt, State
from tasks.state_machine.decision import Rules
from tasks.state_machine.decision_check import Objection, against_absence, against_adoption
from tests.support.records import ACTION, RULES, SENT, operation

LATER = SENT + 300_000
HELD = operation(state=State.HELD)
DOUBT = Doubt(kind="in_doubt", reason="no response", since=SENT)


def row(**more: Any) -> JobRow:
    given = {
        "job_id": "j-7",
        "job_action": ACTION,
        "status": "successful",
        "create_time": "2023-11-14T22:12:20Z",
        "resource_ids": "ehpc-a cln-1 cln-2",
    }
    return JobRow.model_validate({**given, **more})


def against(of: JobRow | None, owner: str | None = None, **more: Any) -> list[Objection]:
    return against_adoption(HELD, of, more.pop("rules", RULES), job_id="j-7", owner=owner, **more)


def test_a_job_that_fits_may_be_adopted() -> None:
    assert against(row()) == []
    assert against(row(), owner="op-1") == []
    assert against(row(resource_ids="ehpc-a"), nodes_counted=2) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"resource_ids": "ehpc-b cln-1 cln-2"}, "of cluster ehpc-b"),
        ({"job_action": "HpcClusterDeleteClusterNodes"}, "'HpcClusterDeleteClusterNodes'"),
        ({"resource_ids": "ehpc-a cln-1 cln-2 cln-3"}, "3 nodes"),
    ],
)
def test_what_the_log_shows_to_be_wrong_nobody_overrules(changed: dict[str, str], said: str) -> None:
    (objection,) = against(row(**changed))

    assert said in objection.text
    assert objection.certain


def test_nor_who_owns_the_job_nor_what_was_there_before() -> None:
    (owned,) = against(row(), owner="op-other")
    (before,) = against_adoption(HELD, row(job_id="j-before"), RULES, job_id="j-before", owner=None)

    assert ("belongs to operation op-other" in owned.text, owned.certain) == (True, True)
    assert ("was there before" in before.text, before.certain) == (True, True)


UNSURE = [
    None,
    row(resource_ids="cln-1 cln-2"),
    row(job_action=""),
    row(create_time=None),
    row(create_time="2023-11-14T21:12:20Z"),
    row(create_time="2023-11-14T22:20:20Z"),
    row(resource_ids="ehpc-a cln-1"),
    row(resource_ids="ehpc-a", status="pending"),
    row(resource_ids="ehpc-a cln-1", status="pending"),
]


@pytest.mark.parametrize("of", UNSURE)
def test_what_the_log_cannot_show_may_be_overruled(of: JobRow | None) -> None:
    assert [objection.certain for objection in against(of)] == [False]


@pytest.mark.parametrize("counted", [0, 1, 3])
def test_so_may_a_number_of_nodes_that_was_only_counted(counted: int) -> None:
    (objection,) = against(row(resource_ids="ehpc-a"), nodes_counted=counted)

    assert (f"{counted} nodes were made" in objection.text, objection.certain) == (True, False)


def test_an_action_name_that_was_never_seen_is_no_objection() -> None:
    unproven = Rules(60_000, 30_000, 10_000, 5_000, "AnotherName", action_seen=False)

    assert against(row(), rules=unproven) == []


def absent(of: Any = HELD, *candidates: JobRow, **more: Any) -> list[Objection]:
    given = {"listed_at": LATER, "flaws": (), "own_job": None, **more}
    return against_absence(of, candidates, given.pop("rules", RULES), **given)


def test_nothing_speaks_against_the_absence_that_the_log_shows() -> None:
    assert absent() == []
    assert absent(HELD, row(job_action="HpcClusterDeleteClusterNodes")) == []


def test_nobody_decides_before_the_call_can_no_longer_be_executed() -> None:
    (objection,) = absent(listed_at=SENT + 70_000)

    assert ("try again then" in objection.text, objection.certain) == (True, True)


@pytest.mark.parametrize("made_at", ["2023-11-14T22:12:20Z", "2023-11-14T21:12:20Z"])
def test_a_job_that_may_be_its_own_is_overruled_only_knowingly(made_at: str) -> None:
    """Whenever it was made: the provider's clock may have stepped."""
    (objection,) = absent(HELD, row(create_time=made_at))

    assert ("job j-7 can be its own" in objection.text, objection.certain) == (True, False)


@pytest.mark.parametrize(("doubt", "certain"), [(None, True), (DOUBT, False)])
def test_a_job_that_runs_was_executed_unless_it_was_adopted(doubt: Doubt | None, certain: bool) -> None:
    (objection,) = absent(operation(doubt=doubt), own_job=row(job_id="j-1"))

    assert ("j-1" in objection.text, objection.certain) == (True, certain)


def test_a_log_that_proves_nothing_stops_only_what_is_still_being_reconciled() -> None:
    unproven = Rules(60_000, 30_000, 10_000, 5_000, ACTION, action_seen=False)
    in_doubt = operation(state=State.IN_DOUBT)

    said = absent(in_doubt, flaws=["it ended early"], rules=unproven)

    assert [objection.certain for objection in said] == [False, False]
    assert absent(HELD, rules=unproven) == []
    assert [objection.certain for objection in absent(HELD, flaws=["it ended early"])] == [False]
