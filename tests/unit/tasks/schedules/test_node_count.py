"""How many nodes of a role are there, and how many are on their way."""

from datetime import UTC, datetime

import pytest

from tasks.ehpc.models import NodeRow
from tasks.ledger.record_values import State
from tasks.schedules.node_count import NodeListing, present_of, unassigned_of, unknown_roles
from tasks.state_machine.node_arrivals import CLOCK_MARGIN_MS
from tests.support.records import NOW, SENT, cluster, operation, request


def row(
    number: int, at: int | None = SENT - 86_400_000, role: str = "compute", status: str = "active"
) -> NodeRow:
    created = None if at is None else datetime.fromtimestamp(at / 1000, UTC)
    return NodeRow.model_validate(
        {"node_id": f"cln-{number}", "role": role, "status": status, "create_time": created}
    )


def test_all_nodes_of_the_role_are_there_that_are_not_gone() -> None:
    rows = [row(1), row(2, role="login"), row(3, status="pending"), row(4, status="Ceased")]
    rows += [row(5, role="Compute"), row(6, status="who knows"), row(7, status="")]

    assert present_of(rows, "compute", None) == 5
    assert present_of(rows, "login", None) == 1


def test_a_role_that_is_unknown_keeps_nodes_from_being_counted() -> None:
    assert unknown_roles([row(1), row(2, role="LOGIN"), row(3, role="Controller")]) == []
    assert unknown_roles([row(1, role="kompute", status="deleted")]) == []
    assert unknown_roles([row(1, role="kompute"), row(2, role="")]) == [
        "the role '' is unknown",
        "the role 'kompute' is unknown",
    ]


def test_what_an_operation_has_brought_already_is_not_counted_beside_its_whole() -> None:
    brought = SENT + CLOCK_MARGIN_MS + 1
    rows = [row(1), row(2, brought), row(3, brought)]
    going = operation({"r-1": 5})

    assert present_of(rows, "compute", going) == 1
    assert present_of(rows, "login", going) == 0
    assert present_of(rows, "compute", operation({"r-1": 5}, node_role="login")) == 3
    assert present_of(rows, "compute", operation({"r-1": 5}, State.SUCCEEDED)) == 3


@pytest.mark.parametrize("at", [SENT - 1, SENT + CLOCK_MARGIN_MS, None])
def test_a_node_that_may_be_of_an_operation_before_counts_as_there(at: int | None) -> None:
    assert present_of([row(1, at)], "compute", operation({"r-1": 5})) == 1


def test_no_more_nodes_are_taken_for_an_operations_own_than_it_has() -> None:
    rows = [row(number, SENT + 60_000) for number in range(7)]

    assert present_of(rows, "compute", operation({"r-1": 5})) == 2


def test_a_request_counts_the_nodes_of_the_role_that_it_may_get() -> None:
    waiting = request(nodes=4, unassigned_nodes=3)

    assert unassigned_of(waiting, "compute", NOW) == 3
    assert unassigned_of(waiting, "login", NOW) == 0
    assert unassigned_of(waiting, "compute", waiting.deadline_at) == 0
    assert (
        unassigned_of(
            request(nodes=4, unassigned_nodes=0, status="succeeded", finished_at=NOW), "compute", NOW
        )
        == 0
    )


def test_a_listing_is_too_old_once_an_operation_has_begun_or_ended() -> None:
    listing = NodeListing((), "op-1", 5)

    assert listing.fits(cluster(changed_at=5, version=99))
    assert not listing.fits(cluster(changed_at=6))
    assert not listing.fits(cluster(changed_at=5, locked_by=None))
