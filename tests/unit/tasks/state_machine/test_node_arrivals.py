"""Which nodes a job has brought, when the operation log alone does not say so."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ehpc.models import NodeRow
from tasks.ledger.record_values import JobResult, State
from tasks.state_machine.node_arrivals import needs_listing, nodes_made, nodes_that_came
from tests.support.records import NOW, SENT, operation

THREE = operation({"r-1": 2, "r-2": 1})


def node(number: int, at: int | None = SENT + 10_000, **more: Any) -> NodeRow:
    made = None if at is None else datetime.fromtimestamp(at / 1000, UTC)
    given = {"node_id": f"cln-{number}", "role": "compute", "status": "active", "create_time": made}
    return NodeRow.model_validate({**given, **more})


def job_result(*ids: int, successful: bool = False) -> JobResult:
    return JobResult(successful=successful, ended_at=NOW, node_ids=tuple(f"cln-{number}" for number in ids))


@pytest.mark.parametrize(
    ("result", "unclear"),
    [
        (job_result(1, 2, 3, successful=True), False),
        (job_result(successful=True), False),
        (job_result(1, 2, 3, 4, successful=True), True),
        (job_result(1, 2, successful=True), True),
        (job_result(1, 2, 3), True),
        (job_result(), True),
    ],
)
def test_only_a_failed_job_or_another_number_of_ids_leaves_a_question(
    result: JobResult, unclear: bool
) -> None:
    assert needs_listing(THREE, result) is unclear


@pytest.mark.parametrize(
    ("row", "came"),
    [
        pytest.param(node(1), True, id="made while the job ran"),
        pytest.param(node(1, SENT - 5_000), True, id="made as it was sent, by another clock"),
        pytest.param(node(1, NOW + 999), True, id="made in the second in which it ended"),
        pytest.param(node(1, SENT - 5_001), False, id="made before"),
        pytest.param(node(1, NOW + 1_000), False, id="made after"),
        pytest.param(node(1, None), False, id="made who knows when"),
        pytest.param(node(1, role="login"), False, id="of another role"),
        pytest.param(node(1, role="Compute"), True, id="of its role in other letters"),
        pytest.param(node(1, role=None), True, id="of a role that is not told"),
        *(
            pytest.param(node(1, status=status), False, id=status)
            for status in ("deleted", "deleting", "ceased", "terminated", "Deleted")
        ),
    ],
)
def test_a_node_is_the_jobs_if_made_meanwhile_and_present(row: NodeRow, came: bool) -> None:
    assert nodes_that_came(THREE, job_result(), [row]) == ([row.node_id] if came else [])


def test_a_node_that_the_log_names_is_there_unless_it_is_gone() -> None:
    assert nodes_that_came(THREE, job_result(9), []) == ["cln-9"]
    assert nodes_that_came(THREE, job_result(9), [node(9, None, role="login")]) == ["cln-9"]
    assert nodes_that_came(THREE, job_result(9), [node(9, status="Deleted")]) == []


def test_a_node_of_another_operation_is_not_given_again() -> None:
    assert nodes_that_came(THREE, job_result(9), [node(1), node(2)], {"cln-9", "cln-1"}) == ["cln-2"]


def test_of_too_many_names_those_made_meanwhile_come_first() -> None:
    named = job_result(1, 2, 3, 4, 5, successful=True)
    rows = [node(number, SENT - 60_000) for number in (1, 2)] + [node(number) for number in (3, 4, 5)]

    assert nodes_that_came(THREE, named, rows) == ["cln-3", "cln-4", "cln-5"]


def test_nodes_made_before_the_job_started_are_not_its_own() -> None:
    late = JobResult(successful=False, started_at=SENT + 50_000, ended_at=NOW)

    assert nodes_that_came(THREE, late, [node(1, SENT + 49_999), node(2, SENT + 50_000)]) == ["cln-2"]


def test_an_operation_without_a_sending_time_uses_its_planning_time() -> None:
    of = operation(state=State.PLANNED, planned_at=SENT)

    assert nodes_that_came(of, job_result(), [node(1, SENT - 5_001), node(2, SENT)]) == ["cln-2"]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-20, 120)), unique_by=lambda row: row[0]))
def test_never_more_nodes_arrive_than_were_requested_and_none_twice(
    made: list[tuple[int, int]],
) -> None:
    rows = [node(number, SENT + seconds * 1000) for number, seconds in made]

    came = nodes_that_came(THREE, job_result(1, 2), rows)

    assert len(came) <= THREE.node_count
    assert len(came) == len(set(came))
    assert set(came) <= {row.node_id for row in rows} | {"cln-1", "cln-2"}


def test_nodes_that_the_log_names_come_first() -> None:
    rows = [node(1, SENT - 4_000), node(2), node(3), node(4)]

    assert set(nodes_that_came(THREE, job_result(2, 3, 4), rows)) == {"cln-2", "cln-3", "cln-4"}


def test_nodes_that_were_made_count_even_if_they_are_gone_by_now() -> None:
    rows = [node(1, status="deleted"), node(2), node(3, role="login"), node(4, None), node(5, NOW + 5_001)]

    assert nodes_made(rows, "compute", SENT, NOW) == ["cln-1", "cln-2"]
