"""What is kept of how long operations took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ledger.durations import Duration, duration_of, percentile
from tasks.ledger.pools import Pool
from tasks.ledger.record_values import JobResult, State
from tasks.state_machine import completion
from tests.support.records import NOW, SENT, durations, operation, request, served, snapshot


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=100), st.floats(0.01, 1.0))
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(
    values: list[int], share: float
) -> None:
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.9) is None


def test_requests_that_can_share_a_call_have_the_same_pool_text() -> None:
    one = Pool.of(request("r-1", nodes=2, resource_conf={"cpu": 4, "memory": 8}).valid_spec)
    other = Pool.of(request("r-2", nodes=9, resource_conf={"memory": 8, "cpu": 4}).valid_spec)
    third = Pool.of(
        request("r-3", nodes=9, cluster_id="ehpc-b", resource_conf={"memory": 8, "cpu": 4}).valid_spec
    )

    assert one.text() == other.text()
    assert one.text() != third.text()
    assert (one.cluster_id, one.zone, one.node_role) == ("ehpc-a", "jn1a", "compute")


@pytest.mark.parametrize("successful", [True, False])
def test_an_operation_that_ends_by_its_job_leaves_its_duration(successful: bool) -> None:
    done = operation({"r-1": 2})
    job_result = JobResult(successful=successful, ended_at=NOW - 5)

    changes = completion.finish(
        snapshot(done, served(done)), job_result, nodes_added=1, node_ids=("cln-1",), now=NOW
    )

    assert durations(changes) == [(Pool.of(request().valid_spec), Duration(NOW - SENT, 1, successful, NOW))]


def test_an_operation_that_no_request_is_left_of_leaves_nothing() -> None:
    job_result = JobResult(successful=True, ended_at=NOW)

    changes = completion.finish(snapshot(operation()), job_result, nodes_added=2, node_ids=(), now=NOW)

    assert durations(changes) == []


def test_a_clock_that_was_set_back_gives_no_negative_duration() -> None:
    assert duration_of(operation(state=State.RUNNING), SENT - 1).ms == 0
