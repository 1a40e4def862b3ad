"""What a dry run expects."""

import pytest

from tasks.intake.dry_run import expected_duration, invalid, sizes
from tasks.ledger.durations import Duration


def took(*seconds: int, ok: bool = True) -> list[Duration]:
    return [Duration(many * 1_000, 2, ok, 0) for many in seconds]


@pytest.mark.parametrize(
    ("nodes", "most", "expected"),
    [(1, 99, [1]), (99, 99, [99]), (100, 99, [99, 1]), (250, 99, [99, 99, 52]), (70, 30, [30, 30, 10])],
)
def test_operations_are_as_large_as_they_may_be(nodes: int, most: int, expected: list[int]) -> None:
    assert sizes(nodes, most) == expected


def test_an_operation_is_expected_to_take_the_percentiles_of_the_last() -> None:
    durations = took(10, 20, 30, 40, 50, 60, 70, 80, 90, 100)

    expected = expected_duration(durations, own=2, before=1)

    assert expected is not None
    assert (expected.p50_s, expected.p90_s, expected.operations_seen) == (150.0, 270.0, 10)


def test_a_job_that_failed_says_nothing_of_how_long_one_takes() -> None:
    assert expected_duration(took(1, ok=False), own=1, before=0) is None
    assert expected_duration([], own=1, before=0) is None


def test_an_unusable_id_is_not_given_back() -> None:
    assert invalid({"request_id": "not usable"}, ["zone is missing"]).request_id is None
    found = invalid({"request_id": "r-1"}, ["zone is missing", "node_count is missing"])
    assert (found.request_id, found.status) == ("r-1", "rejected")
    assert found.error is not None
    assert found.error.message == "zone is missing; node_count is missing"
