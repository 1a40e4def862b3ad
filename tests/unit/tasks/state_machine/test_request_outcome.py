"""When a request ends, as what, and what is written back."""

from typing import Any

import pytest

from tasks.contract.outcome import OutcomeStatus
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.outcomes import outcome_of
from tasks.ledger.record_values import Assignment, Reason, State
from tasks.ledger.records import Request
from tasks.state_machine.request_outcome import (
    CANCELLED,
    DEADLINE,
    cancel_request,
    end_request,
    enter_demand,
    expire_request,
    report_late_nodes,
    write_request,
)
from tests.support.records import (
    AN_HOUR,
    NOW,
    SENT,
    assignment,
    demand,
    expires,
    late_outcomes,
    recorded,
    request,
    written,
)

SHORTAGE = Reason(kind="shortage", message="too few nodes", code=5200)
LIVE = (State.PLANNED, State.SUBMITTING, State.IN_DOUBT, State.RUNNING, State.HELD)
SENT_STATES = LIVE[1:]


def arrived(nodes: int, spec: int = 2, operation_id: str = "op-1") -> Assignment:
    state = State.SUCCEEDED if nodes == spec else State.FAILED
    ids = tuple(f"cln-{number}" for number in range(nodes))
    return assignment(
        operation_id,
        spec,
        state,
        job_id="j-1",
        nodes_added=nodes,
        node_ids=ids,
        submitted_at=SENT,
        finished_at=NOW - 1,
    )


def write(of: Request) -> ChangeSet:
    changes = ChangeSet()
    given = write_request(changes, of, NOW)
    assert given == written(changes, of)
    return changes


@pytest.mark.parametrize(
    "more",
    [
        {"unassigned_nodes": 1},
        *({"unassigned_nodes": 0, "assignments": (assignment(state=state),)} for state in LIVE),
    ],
    ids=["wants more", *LIVE],
)
def test_a_request_continues_while_it_wants_nodes_or_has_an_operation(more: dict[str, Any]) -> None:
    live = request(**more)

    changes = write(live)

    assert written(changes, live) == live
    assert (changes.outcomes, changes.expiring, changes.events) == ([], [], [])


@pytest.mark.parametrize(
    ("added", "more", "status"),
    [
        (2, {}, "succeeded"),
        (2, {"last_reason": SHORTAGE}, "succeeded"),
        (2, {"cancelled": True}, "succeeded"),
        (1, {"last_reason": SHORTAGE}, "partially_succeeded"),
        (1, {"cancelled": True, "last_reason": CANCELLED}, "cancelled"),
        (1, {"last_reason": Reason(kind="rejected", message="no")}, "partially_succeeded"),
        (0, {"cancelled": True}, "cancelled"),
        (0, {"last_reason": SHORTAGE}, "failed"),
        (0, {"last_reason": Reason(kind="job_failed", message="no")}, "failed"),
        *(
            (0, {"last_reason": Reason(kind=kind, message="no")}, "rejected")
            for kind in ("invalid", "rejected", "wrong_zone", "conflict", "limit")
        ),
    ],
)
def test_a_request_that_waits_for_nothing_ends_by_its_nodes_and_reason(
    added: int, more: dict[str, Any], status: str
) -> None:
    of = request(unassigned_nodes=0, assignments=(arrived(added),), **more)

    changes = write(of)

    ended = written(changes, of)
    assert (ended.status, ended.finished_at) == (status, NOW)
    (outcome,) = changes.outcomes
    assert outcome == outcome_of(ended)
    assert (outcome.error is None) == (status == "succeeded" or of.last_reason is None)
    assert expires(changes, of)
    event = recorded(changes, "request_finished")
    assert event.level == ("info" if status == "succeeded" else "warning")
    assert event.requests == ("r-1",)
    assert event.fields["status"] == status
    assert (event.fields["error"] is None) == (outcome.error is None)


@pytest.mark.parametrize(("state", "expired"), [(State.RUNNING, False), (State.FAILED, True)])
def test_an_ended_request_ends_once_and_lives_as_long_as_its_operations(state: State, expired: bool) -> None:
    ended = request(
        unassigned_nodes=0, status="timed_out", finished_at=NOW - 9, assignments=(assignment(state=state),)
    )

    changes = write(ended)

    assert written(changes, ended) == ended
    assert changes.outcomes == []
    assert changes.events == []
    assert expires(changes, ended) == expired


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize(("reason", "shown"), [(None, DEADLINE), (SHORTAGE, SHORTAGE)])
def test_at_its_deadline_a_request_leaves_demand_with_its_reason(
    state: State, reason: Reason | None, shown: Reason
) -> None:
    live = request(
        "r-1",
        9,
        unassigned_nodes=5,
        last_reason=reason,
        assignments=(arrived(2), assignment("op-2", state=state)),
    )

    changes = ChangeSet()
    expire_request(changes, live, NOW)

    ended = written(changes, live)
    assert (ended.status, ended.unassigned_nodes, ended.nodes_added) == ("timed_out", 0, 2)
    assert demand(changes) == [("ehpc-a", live.pool, "r-1", None)]
    (outcome,) = changes.outcomes
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.message) == (shown.kind, shown.message)
    # Its running jobs are polled, and its record is needed for that.
    assert ended.live_assignments == live.live_assignments
    assert not expires(changes, live)


def test_a_request_without_unassigned_nodes_is_not_in_demand_at_its_end() -> None:
    changes = ChangeSet()
    expire_request(changes, request(unassigned_nodes=0, assignments=(assignment(),)), NOW)

    assert demand(changes) == []


@pytest.mark.parametrize("states", [(), (State.PLANNED,), (State.PLANNED, State.REFUSED)])
@pytest.mark.parametrize("unassigned_nodes", [0, 3])
def test_a_request_of_which_nothing_was_sent_is_cancelled_at_once(
    states: tuple[State, ...], unassigned_nodes: int
) -> None:
    assignments = tuple(assignment(f"op-{place}", state=state) for place, state in enumerate(states))
    live = request("r-1", 9, unassigned_nodes=unassigned_nodes, assignments=assignments)

    changes = ChangeSet()
    cancel_request(changes, live, NOW, by="ann")

    ended = written(changes, live)
    assert (ended.cancelled, ended.status, ended.unassigned_nodes) == (True, "cancelled", 0)
    (outcome,) = changes.outcomes
    assert outcome.error is not None
    assert outcome.error.kind == "cancelled"
    assert demand(changes) == ([("ehpc-a", live.pool, "r-1", None)] if unassigned_nodes else [])
    assert recorded(changes, "request_cancelled").fields == {"by": "ann"}
    assert expires(changes, live) == (State.PLANNED not in states)


@pytest.mark.parametrize("state", SENT_STATES)
@pytest.mark.parametrize("unassigned_nodes", [0, 3])
def test_a_request_with_sent_nodes_takes_no_more_and_ends_with_those(
    state: State, unassigned_nodes: int
) -> None:
    live = request(
        "r-1",
        5,
        unassigned_nodes=unassigned_nodes,
        assignments=(assignment(state=state), assignment("op-2", state=State.PLANNED)),
    )

    changes = ChangeSet()
    cancel_request(changes, live, NOW, by="ann")

    cancelled = written(changes, live)
    assert (cancelled.cancelled, cancelled.status, cancelled.unassigned_nodes) == (True, None, 0)
    assert cancelled.last_reason == CANCELLED
    assert demand(changes) == ([("ehpc-a", live.pool, "r-1", None)] if unassigned_nodes else [])
    assert changes.outcomes == []
    assert [event.name for event in changes.events] == ["request_cancelled"]


def test_what_was_said_against_a_request_before_it_was_cancelled_is_kept() -> None:
    changes = ChangeSet()
    cancel_request(changes, request(last_reason=SHORTAGE), NOW, by="ann")

    (outcome,) = changes.outcomes
    assert outcome.error is not None
    assert outcome.error.kind == "shortage"


def test_an_outcome_has_the_request_the_nodes_and_the_jobs() -> None:
    assignments = (
        arrived(2),
        assignment(
            "op-2", 3, State.FAILED, job_id="j-2", error_codes="5201", submitted_at=SENT, finished_at=NOW
        ),
        assignment("op-3", 4, State.IN_DOUBT, submitted_at=SENT),
        assignment("op-4", 5, State.RUNNING, job_id="j-4", submitted_at=SENT),
        assignment("op-5", 6, State.HELD, job_id="j-5"),
    )
    ended = request(
        "r-1",
        20,
        requested_by="billing",
        assignments=assignments,
        refusals=4,
        status="timed_out",
        finished_at=NOW + 7,
        last_reason=SHORTAGE,
    )

    assert outcome_of(ended).model_dump() == {
        "version": 1,
        "request_id": "r-1",
        "cluster_id": "ehpc-a",
        "zone": "jn1a",
        "node_role": "compute",
        "status": "timed_out",
        "nodes_requested": 20,
        "nodes_added": 2,
        "node_ids": ["cln-0", "cln-1"],
        "operations": [
            {
                "operation_id": "op-1",
                "job_id": "j-1",
                "node_count": 2,
                "status": "succeeded",
                "error_codes": "",
                "submitted_at": "2023-11-14T22:12:20.000Z",
                "finished_at": "2023-11-14T22:13:19.999Z",
            },
            {
                "operation_id": "op-2",
                "job_id": "j-2",
                "node_count": 3,
                "status": "failed",
                "error_codes": "5201",
                "submitted_at": "2023-11-14T22:12:20.000Z",
                "finished_at": "2023-11-14T22:13:20.000Z",
            },
            {
                "operation_id": "op-4",
                "job_id": "j-4",
                "node_count": 5,
                "status": "running",
                "error_codes": "",
                "submitted_at": "2023-11-14T22:12:20.000Z",
                "finished_at": None,
            },
            {
                "operation_id": "op-5",
                "job_id": "j-5",
                "node_count": 6,
                "status": "held",
                "error_codes": "",
                "submitted_at": None,
                "finished_at": None,
            },
        ],
        "refusals": 4,
        "error": {"code": 5200, "kind": "shortage", "message": "too few nodes"},
        "requested_by": "billing",
        "accepted_at": "2023-11-14T21:13:20.000Z",
        "finished_at": "2023-11-14T22:13:20.007Z",
        "duration_s": AN_HOUR / 1000 + 0.007,
    }


def test_an_invalid_request_has_an_outcome_without_its_fields() -> None:
    refused = Request(
        request_id="r-1",
        fingerprint="f",
        accepted_at=NOW,
        deadline_at=NOW,
        last_reason=Reason(kind="invalid", message="node_count is missing"),
    )
    changes = ChangeSet()

    end_request(changes, refused, "rejected", NOW)

    (outcome,) = changes.outcomes
    unknown = ("cluster_id", "zone", "node_role", "nodes_requested", "requested_by")
    assert {name: getattr(outcome, name) for name in unknown} == dict.fromkeys(unknown)
    assert (outcome.nodes_added, outcome.duration_s) == (0, 0.0)
    assert demand(changes) == []
    with pytest.raises(ValueError, match="r-1 was rejected as invalid and has no valid content"):
        _ = refused.valid_spec


def test_a_clock_that_went_back_makes_no_negative_duration() -> None:
    ended = request(accepted_at=NOW, status="cancelled", finished_at=NOW - 5)

    assert outcome_of(ended).duration_s == 0.0


@pytest.mark.parametrize(("status", "finished_at"), [(None, None), ("succeeded", None), (None, NOW)])
def test_a_request_that_has_not_ended_has_no_outcome(
    status: OutcomeStatus | None, finished_at: int | None
) -> None:
    with pytest.raises(ValueError, match="request r-1 has not ended and has no outcome"):
        outcome_of(request(status=status, finished_at=finished_at))


def test_late_nodes_are_reported_with_the_outcome_as_it_now_is() -> None:
    part = arrived(2)
    late = request(unassigned_nodes=0, status="timed_out", finished_at=NOW - 9, assignments=(part,))
    changes = ChangeSet()

    report_late_nodes(changes, late, part)

    (report,) = late_outcomes(changes)
    assert (report.status, report.nodes_added, report.node_ids) == ("timed_out", 2, ["cln-0", "cln-1"])
    assert changes.outcomes == []
    event = recorded(changes, "late_nodes")
    assert (event.level, event.requests) == ("warning", ("r-1",))
    assert event.fields == {"operation_id": "op-1", "job_id": "j-1", "nodes_added": 2}


def test_a_request_waits_again_at_the_place_of_its_first_arrival() -> None:
    back, changes = request(), ChangeSet()

    enter_demand(changes, back)

    assert demand(changes) == [("ehpc-a", back.pool, "r-1", back.accepted_at)]
