"""The status of a request and its reason, for people and programs."""

from math import inf
from typing import Any

import pytest

from tasks.contract.request import ScaleOutRequest
from tasks.ledger.pauses import Pauses
from tasks.ledger.record_values import Allocation, Assignment, Doubt, JobResult, Reason, State
from tasks.ledger.records import Account, Cluster, Operation, Request
from tasks.views.status import RequestStatus, StatusReason, Surroundings, status_document, status_of

NOW = 1_700_000_000_000
SOON = "2023-11-14T22:13:25.000Z"
SPEC = ScaleOutRequest(request_id="r-1", cluster_id="ehpc-a", zone="jn1a", node_count=2)
SHORTAGE = Reason(kind="shortage", message="too few nodes", code=5200)
PLANNING = StatusReason("planning", "the next operation of its pool is about to be planned")
LISTING = StatusReason(
    "submission", "operation op-1 is about to be sent: the jobs of ehpc-a are being listed"
)


def request(state: State | None = None, **more: Any) -> Request:
    assignments = () if state is None else (Assignment(operation_id="op-1", node_count=2, state=state),)
    given = {
        "request_id": "r-1",
        "spec": SPEC,
        "fingerprint": "f",
        "accepted_at": NOW,
        "deadline_at": NOW + 9,
    }
    return Request(**{**given, "assignments": assignments, **more})


def operation(name: str, state: State, **more: Any) -> Operation:
    return Operation(
        operation_id=name,
        cluster_id="ehpc-a",
        zone="jn1a",
        node_role="compute",
        allocations=(Allocation(request_id="r-1", node_count=2),),
        planned_at=NOW,
        state=state,
        **more,
    )


def status(
    of: Request,
    *operations: Operation,
    cluster: Cluster | None = None,
    account: Account | None = None,
    **more: Any,
) -> RequestStatus:
    around = Surroundings(
        cluster or Cluster(cluster_id="ehpc-a"),
        account or Account(),
        Pauses.none("ehpc-a"),
        {one.operation_id: one for one in operations},
        **more,
    )
    return status_of(of, around, NOW)


def reason(of: Request, **more: Any) -> StatusReason:
    found = status(of, **more).reason
    assert found is not None
    return found


def test_a_request_that_has_ended_has_the_status_of_its_outcome() -> None:
    assert status(request(status="succeeded")) == RequestStatus("succeeded", None)


@pytest.mark.parametrize(
    ("state", "more", "shown", "expected"),
    [
        (
            State.HELD,
            {"held_reason": "two jobs"},
            "held",
            StatusReason("held", "operation op-1 is held: two jobs", remedy="scaleout resolve op-1"),
        ),
        (
            State.SUBMITTING,
            {},
            "in_progress",
            StatusReason("submission", "the call of operation op-1 is on its way"),
        ),
        (State.RUNNING, {"job_id": "j-1"}, "in_progress", StatusReason("job", "job j-1 is running")),
        (
            State.IN_DOUBT,
            {"doubt": Doubt(since=NOW, reason="no reply")},
            "in_progress",
            StatusReason(
                "in_doubt",
                "operation op-1 is in doubt since 2023-11-14T22:13:20.000Z: no reply",
                remedy="scaleout resolve op-1",
            ),
        ),
        (
            State.IN_DOUBT,
            {},
            "in_progress",
            StatusReason("in_doubt", "operation op-1 is in doubt", remedy="scaleout resolve op-1"),
        ),
        (State.PLANNED, {}, "waiting", LISTING),
        (
            State.RUNNING,
            {"job_id": "j-1", "sent_at": NOW},
            "in_progress",
            StatusReason("job", "job j-1 is running since 2023-11-14T22:13:20.000Z"),
        ),
        (
            State.RUNNING,
            {"job_id": "j-1", "job_result": JobResult(successful=True, ended_at=NOW)},
            "in_progress",
            StatusReason("job", "job j-1 has ended, and the nodes that it made are being counted"),
        ),
        # Its next try is under way: what kept it before does no more.
        (State.PLANNED, {"reason": Reason(kind="quota", message="no calls")}, "waiting", LISTING),
    ],
)
def test_a_request_in_an_operation_shows_the_state_of_that_operation(
    state: State, more: dict[str, Any], shown: str, expected: StatusReason
) -> None:
    assert status(request(state), operation("op-1", state, **more)) == RequestStatus(shown, expected)


@pytest.mark.parametrize(("kind", "shown"), [("quota", "quota"), ("in_doubt", "listing")])
def test_what_is_not_sent_says_why_and_when_it_is_tried_again(kind: str, shown: str) -> None:
    waits = operation("op-1", State.PLANNED, reason=Reason(kind=kind, message="HTTP 500"))

    found = status(request(State.PLANNED), waits, next_try={"op-1": NOW + 5000}).reason

    assert found == StatusReason(shown, "operation op-1 is not sent yet: HTTP 500", SOON)


def test_what_cannot_be_counted_or_listed_says_so_until_the_next_try() -> None:
    failed, next_try = Reason(kind="busy", message="HTTP 500"), {"op-1": NOW + 5000}
    ended = JobResult(successful=True, ended_at=NOW)
    counted = operation("op-1", State.RUNNING, job_id="j-1", job_result=ended, reason=failed)
    doubted = operation("op-1", State.IN_DOUBT, reason=failed)

    for state, of in ((State.RUNNING, counted), (State.IN_DOUBT, doubted)):
        found = status(request(state), of, next_try=next_try).reason
        assert found is not None
        assert ("HTTP 500" in found.message, found.until) == (True, SOON)


def test_a_held_operation_that_locks_the_cluster_is_named_with_its_command() -> None:
    locked = Cluster(cluster_id="ehpc-a", locked_by="op-7")
    held = operation("op-7", State.HELD, held_reason="two jobs")
    sent = operation("op-7", State.RUNNING, job_id="j-7", sent_at=NOW)

    def found(of: Operation) -> StatusReason | None:
        return status(request(), of, cluster=locked).reason

    assert found(held) == StatusReason(
        "cluster_lock",
        "operation op-7, which is held, locks cluster ehpc-a: two jobs",
        remedy="scaleout resolve op-7",
    )
    assert found(sent) == StatusReason(
        "cluster_lock", "operation op-7 is changing cluster ehpc-a since 2023-11-14T22:13:20.000Z"
    )


def test_a_waiting_request_names_its_blocker_and_until_when() -> None:
    blocked = Account(blocked_since=NOW, not_before=NOW + 5000, reason=Reason(kind="a", message="who?"))
    found = reason(request(), account=blocked)
    assert (found.kind, found.until) == ("account", SOON)
    assert "blocks the account" in found.message
    locked = Cluster(cluster_id="ehpc-a", locked_by="op-7")
    assert reason(request(), cluster=locked) == StatusReason(
        "cluster_lock", "operation op-7 is changing cluster ehpc-a"
    )
    moving = Reason(kind="busy", message="moving")
    busy = Cluster(cluster_id="ehpc-a", not_before=NOW + 5000, wait_reason=moving)
    assert reason(request(), cluster=busy) == StatusReason("busy", "moving", SOON)
    short = request(not_before=NOW + 5000, last_reason=SHORTAGE)
    assert reason(short) == StatusReason("shortage", "too few nodes", SOON)
    assert status(request()) == RequestStatus("waiting", PLANNING)


def test_held_is_shown_before_running_and_running_before_planned() -> None:
    states = {"op-1": State.PLANNED, "op-2": State.RUNNING, "op-3": State.HELD, "op-4": State.FAILED}
    operations = [
        operation(
            name,
            state,
            job_id=None if state is State.PLANNED else f"job-of-{name}",
            held_reason="it was seen in no listing",
        )
        for name, state in states.items()
    ]

    def shown(*names: str) -> RequestStatus:
        parts = [Assignment(operation_id=name, node_count=1, state=states[name]) for name in names]
        return status(request(assignments=tuple(parts)), *operations)

    assert shown("op-1", "op-2", "op-3").state == "held"
    assert shown("op-1", "op-2", "op-4") == RequestStatus(
        "in_progress", StatusReason("job", "job job-of-op-2 is running")
    )
    assert shown("op-1", "op-4") == RequestStatus("waiting", LISTING)
    assert shown("op-4") == RequestStatus("waiting", PLANNING)


def test_a_request_whose_operation_is_gone_is_shown_as_waiting() -> None:
    assert status(request(State.RUNNING)) == RequestStatus("waiting", PLANNING)


@pytest.mark.parametrize(
    ("cluster", "account", "of"),
    [
        (
            {"not_before": NOW, "wait_reason": SHORTAGE},
            {"not_before": NOW + 1},
            {"not_before": NOW, "last_reason": SHORTAGE},
        ),
        ({"not_before": NOW + 1}, {"blocked_since": NOW}, {}),
    ],
    ids=["it is over", "nobody gave a reason"],
)
def test_what_is_over_or_has_no_reason_is_not_shown(
    cluster: dict[str, Any], account: dict[str, Any], of: dict[str, Any]
) -> None:
    at = Cluster(cluster_id="ehpc-a", **cluster)

    assert status(request(**of), cluster=at, account=Account(**account)).reason == PLANNING


def test_the_account_comes_before_the_lock_and_the_cluster_before_the_request() -> None:
    until = NOW + 5000
    account = Account(blocked_since=NOW, not_before=until, reason=SHORTAGE)
    busy = Cluster(cluster_id="ehpc-a", not_before=until, wait_reason=Reason(kind="busy", message="moving"))
    short = request(not_before=until, last_reason=SHORTAGE)
    locked = busy.model_copy(update={"locked_by": "op-7"})

    assert reason(short, cluster=locked, account=account).kind == "account"
    assert reason(short, cluster=locked).kind == "cluster_lock"
    assert reason(short, cluster=busy).kind == "busy"


def test_without_api_calls_a_request_waits_for_the_quota_until_then() -> None:
    found = reason(request(), suspended_until=NOW + 5_000)

    assert (found.kind, found.until) == ("quota", SOON)


@pytest.mark.parametrize(("silent_s", "text"), [(90.0, "for 90 s"), (inf, "yet")])
def test_without_a_worker_a_request_says_that_none_has_ticked(silent_s: float, text: str) -> None:
    assert reason(request(), silent_s=silent_s) == StatusReason(
        "worker", f"no worker has ticked {text}", remedy="scaleout doctor"
    )


def test_the_document_counts_nodes_that_came_and_that_are_in_progress() -> None:
    assignments = (
        Assignment(operation_id="op-1", node_count=3, state=State.SUCCEEDED, job_id="j-1", nodes_added=3),
        Assignment(operation_id="op-2", node_count=4, state=State.RUNNING, job_id="j-2"),
        Assignment(operation_id="op-3", node_count=5, state=State.PLANNED),
    )
    running = RequestStatus("in_progress", StatusReason("job", "job j-2 is running"))

    document = status_document(request(assignments=assignments, refusals=2), running, None)

    assert document == {
        "version": 1,
        "request_id": "r-1",
        "state": "in_progress",
        "cluster_id": "ehpc-a",
        "zone": "jn1a",
        "node_role": "compute",
        "nodes_requested": 2,
        "nodes_added": 3,
        "nodes_in_progress": 4,
        "requested_by": None,
        "accepted_at": "2023-11-14T22:13:20.000Z",
        "deadline_at": "2023-11-14T22:13:20.009Z",
        "cancelled": False,
        "reason": {"kind": "job", "message": "job j-2 is running", "until": None, "remedy": None},
        "operations": [
            {"operation_id": "op-1", "state": "succeeded", "job_id": "j-1"},
            {"operation_id": "op-2", "state": "running", "job_id": "j-2"},
            {"operation_id": "op-3", "state": "planned", "job_id": None},
        ],
        "outcome": None,
    }


def test_the_document_of_an_invalid_request_has_its_outcome_and_no_cluster() -> None:
    invalid = request(spec=None, status="rejected", finished_at=NOW)
    outcome = {"status": "rejected"}

    document = status_document(invalid, RequestStatus("rejected", None), outcome)

    assert document["outcome"] is outcome
    assert (document["cluster_id"], document["nodes_requested"], document["requested_by"]) == (None,) * 3
