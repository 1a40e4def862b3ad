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
from tasks.lifecycle.standing import Standing, standing_of

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
