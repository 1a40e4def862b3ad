"""What a person or a program is told of a request that has not ended."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.contract.request import ScaleOutRequest
from tasks.ledger.records import (
    Account,
    Allocation,
    Cluster,
    Doubt,
    Operation,
    Refusal,
    Request,
    Share,
    State,
)
from tasks.views.status import Standing, standing_of, summary

NOW = 1_700_000_000_000
FORM = ScaleOutRequest(request_id="r-1", cluster_id="ehpc-a", zone="jn1a", node_count=2)
SHORTAGE = Refusal(kind="shortage", message="too few nodes", code=5200)


def request(state: State | None = None, **more: Any) -> Request:
    shares = () if state is None else (Share(operation_id="op-1", node_count=2, state=state),)
    given = {
        "request_id": "r-1",
        "asked": FORM,
        "fingerprint": "f",
        "accepted_at": NOW,
        "deadline_at": NOW + 9,
    }
    return Request(**{**given, "shares": shares, **more})


def standing(
    of: Request, *, cluster: Cluster | None = None, account: Account | None = None, **operation: Any
) -> Standing:
    op = Operation(
        operation_id="op-1",
        cluster_id="ehpc-a",
        zone="jn1a",
        node_role="compute",
        allocations=(Allocation(request_id="r-1", node_count=2),),
        planned_at=NOW,
        state=of.shares[0].state if of.shares else State.PLANNED,
        **operation,
    )
    return standing_of(of, cluster or Cluster(cluster_id="ehpc-a"), account or Account(), {"op-1": op}, NOW)


def test_an_ended_request_stands_as_its_outcome() -> None:
    assert standing(request(status="succeeded")) == Standing("succeeded", None)


@pytest.mark.parametrize(
    ("state", "operation", "shown", "why"),
    [
        (State.HELD, {"held_because": "two jobs"}, "held", "operation op-1: two jobs"),
        (State.SUBMITTING, {}, "in_progress", "operation op-1 is being sent"),
        (State.RUNNING, {"job_id": "j-1"}, "in_progress", "job j-1 is running"),
        (
            State.IN_DOUBT,
            {"doubt": Doubt(since=NOW, reason="no reply")},
            "in_progress",
            "operation op-1 is in doubt: no reply",
        ),
        (State.IN_DOUBT, {}, "in_progress", "operation op-1 is in doubt: unknown"),
        (State.PLANNED, {}, "waiting", "its cluster's operations are being listed"),
        (State.PLANNED, {"refusal": Refusal(kind="quota", message="no calls")}, "waiting", "no calls"),
    ],
)
def test_a_request_in_an_operation_stands_as_that_operation(
    state: State, operation: dict[str, Any], shown: str, why: str
) -> None:
    assert standing(request(state), **operation) == Standing(shown, why)


def test_a_waiting_request_says_what_it_waits_for_and_until_when() -> None:
    refused = Account(refused_since=NOW, not_before=NOW + 5000, refusal=Refusal(kind="a", message="who?"))
    assert "account is refused" in str(standing(request(), account=refused).why)
    gate = Cluster(cluster_id="ehpc-a", gate="op-7")
    assert standing(request(), cluster=gate).why == "gate: cluster ehpc-a is being changed by operation op-7"
    moving = Refusal(kind="busy", message="moving")
    busy = Cluster(cluster_id="ehpc-a", not_before=NOW + 5000, waits_for=moving)
    assert str(standing(request(), cluster=busy).why).startswith("busy, until 2023-11-14T22:13:25")
    short = request(not_before=NOW + 5000, last_refusal=SHORTAGE)
    assert "too few nodes" in str(standing(short).why)
    assert standing(request()) == Standing("waiting", "the next operation of its pool")


def test_what_is_held_is_said_before_what_runs_and_what_runs_before_what_is_planned() -> None:
    states = {"op-1": State.PLANNED, "op-2": State.RUNNING, "op-3": State.HELD, "op-4": State.FAILED}
    operations = {
        name: Operation(
            operation_id=name,
            cluster_id="ehpc-a",
            zone="jn1a",
            node_role="compute",
            allocations=(),
            planned_at=NOW,
            state=state,
            job_id=None if state is State.PLANNED else f"job-of-{name}",
            held_because="it was seen in no listing",
        )
        for name, state in states.items()
    }
    shares = tuple(Share(operation_id=name, node_count=1, state=state) for name, state in states.items())

    def stands(*names: str) -> Standing:
        of = request(shares=tuple(one for one in shares if one.operation_id in names))
        return standing_of(of, Cluster(cluster_id="ehpc-a"), Account(), operations, NOW)

    assert stands("op-1", "op-2", "op-3") == Standing("held", "operation op-3: it was seen in no listing")
    assert stands("op-1", "op-2", "op-4") == Standing("in_progress", "job job-of-op-2 is running")
    assert stands("op-1", "op-4") == Standing("waiting", "its cluster's operations are being listed")
    assert stands("op-4") == Standing("waiting", "the next operation of its pool")


def test_a_request_whose_operation_has_gone_stands_as_waiting() -> None:
    alone = standing_of(request(State.RUNNING), Cluster(cluster_id="ehpc-a"), Account(), {}, NOW)

    assert alone == Standing("waiting", "the next operation of its pool")


@pytest.mark.parametrize(
    ("cluster", "account", "of"),
    [
        (
            {"not_before": NOW, "waits_for": SHORTAGE},
            {"not_before": NOW + 1},
            {"not_before": NOW, "last_refusal": SHORTAGE},
        ),
        ({"not_before": NOW + 1}, {"refused_since": NOW}, {"not_before": NOW + 1}),
    ],
    ids=["it is over", "nobody said why"],
)
def test_what_is_over_or_has_no_reason_is_not_waited_for(
    cluster: dict[str, Any], account: dict[str, Any], of: dict[str, Any]
) -> None:
    at = Cluster(cluster_id="ehpc-a", **cluster)

    assert standing(request(**of), cluster=at, account=Account(**account)) == Standing(
        "waiting", "the next operation of its pool"
    )


def test_the_account_is_said_before_the_gate_and_the_cluster_before_the_request() -> None:
    until = NOW + 5000
    account = Account(refused_since=NOW, not_before=until, refusal=SHORTAGE)
    busy = Cluster(cluster_id="ehpc-a", not_before=until, waits_for=Refusal(kind="busy", message="moving"))
    short = request(not_before=until, last_refusal=SHORTAGE)
    shut = busy.model_copy(update={"gate": "op-7"})

    assert str(standing(short, cluster=shut, account=account).why).startswith("the account is refused")
    assert str(standing(short, cluster=shut).why).startswith("gate: ")
    assert str(standing(short, cluster=busy).why).startswith("busy, until ")


def test_without_api_calls_for_it_a_request_waits_for_the_quota_and_says_until_when() -> None:
    at = Cluster(cluster_id="ehpc-a")

    resting = standing_of(request(), at, Account(), {}, NOW, resting_until=NOW + 1_500)

    assert str(resting.why).startswith("quota, until ")
    assert str(resting.why).endswith(": the account's API calls are used up for now")


def test_the_summary_counts_what_is_there_and_what_is_under_way() -> None:
    shares = (
        Share(operation_id="op-1", node_count=3, state=State.SUCCEEDED, job_id="j-1", nodes_added=3),
        Share(operation_id="op-2", node_count=4, state=State.RUNNING, job_id="j-2"),
        Share(operation_id="op-3", node_count=5, state=State.PLANNED),
    )

    said = summary(request(shares=shares, refusals=2), Standing("in_progress", "job j-2 is running"), None)

    assert said == {
        "request_id": "r-1",
        "state": "in_progress",
        "why": "job j-2 is running",
        "outcome": None,
        "cluster_id": "ehpc-a",
        "zone": "jn1a",
        "nodes_requested": 2,
        "nodes_added": 3,
        "nodes_in_progress": 9,
        "refusals": 2,
        "requested_by": None,
        "accepted_at": "2023-11-14T22:13:20.000Z",
        "deadline_at": "2023-11-14T22:13:20.009Z",
        "operations": [
            {"operation_id": "op-1", "state": "succeeded", "job_id": "j-1"},
            {"operation_id": "op-2", "state": "running", "job_id": "j-2"},
            {"operation_id": "op-3", "state": "planned", "job_id": None},
        ],
    }


def test_the_summary_of_an_invalid_request_has_its_outcome_and_nothing_that_it_asked_for() -> None:
    invalid = request(asked=None, status="rejected", finished_at=NOW)
    outcome = {"status": "rejected"}

    said = summary(invalid, Standing("rejected", None), outcome)

    assert said["outcome"] is outcome
    assert (said["cluster_id"], said["nodes_requested"], said["requested_by"]) == (None, None, None)
