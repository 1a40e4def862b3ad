"""What each event does to an operation, its requests and its cluster."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.ledger.change_entries import Index
from tasks.ledger.change_set import ChangeSet, DueRule
from tasks.ledger.pauses import Pauses
from tasks.ledger.record_values import Allocation, Candidate, Doubt, JobResult, Reason, State
from tasks.ledger.records import Account, Cluster, Operation, Request
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine import completion, submission
from tasks.state_machine.acceptance import accept, late_response
from tasks.state_machine.reconciliation import doubt, hold, stay_in_doubt
from tasks.state_machine.submission import Baseline, abandon, retry_later, still_wanted
from tests.support.records import (
    AN_HOUR,
    NOW,
    OPERATION_DUE,
    SENT,
    SUBMISSION_DUE,
    ZONE_DUE,
    assignment,
    assignment_of,
    cluster,
    demand,
    due,
    expires,
    is_written,
    late_outcomes,
    listed,
    operation,
    owned,
    polled,
    recorded,
    request,
    served,
    woken,
    written,
)

LEASE_MS = 45_000
DAY_MS = 86_400_000
SUCCESSFUL = JobResult(successful=True, ended_at=NOW - 500)
FAILED = JobResult(successful=False, ended_at=NOW - 500, error_codes="5201")

CANCELLED: dict[str, Any] = {"cancelled": True}
EXPIRED: dict[str, Any] = {"deadline_at": NOW}
TIMED_OUT: dict[str, Any] = {"status": "timed_out", "finished_at": NOW - 1, "deadline_at": NOW - 1}


def by_id(*requests: Request) -> dict[str, Request]:
    return {one.request_id: one for one in requests}


def releases_cluster(changes: ChangeSet) -> bool:
    """Return whether the step releases the cluster; then it also schedules its next plan."""
    if not is_written(changes, cluster()) or written(changes, cluster()).locked_by is not None:
        assert "ehpc-a" not in woken(changes)
        return False
    assert woken(changes)["ehpc-a"] is not None
    assert due(changes).get(OPERATION_DUE, due(changes).get(SUBMISSION_DUE)) is None
    assert {OPERATION_DUE, SUBMISSION_DUE} & due(changes).keys()
    assert listed(changes, Index.HELD)["op-1"] is None
    return True


def snapshot(of: Operation, *requests: Request, at: Cluster | None = None) -> OperationSnapshot:
    return OperationSnapshot(of, by_id(*requests), at or cluster(), Account(), Pauses.none("ehpc-a"))


def submit(of: Operation, *requests: Request) -> ChangeSet:
    return submission.submit(
        snapshot(of, *requests),
        still_wanted(of, by_id(*requests), NOW),
        baseline=Baseline(["j-1", "j-2"], NOW - 70_000),
        body=b'{"node_count": "5"}',
        sent_at=NOW - 250,
        now=NOW,
        lease_ms=LEASE_MS,
    )


def test_an_event_names_operation_job_cluster_and_zone_beside_what_is_said() -> None:
    event = operation({"r-1": 2, "r-2": 3}).event("operation_held", "error", reason="no answer")

    assert (event.name, event.level, event.requests) == ("operation_held", "error", ("r-1", "r-2"))
    assert event.fields == {
        "operation_id": "op-1",
        "job_id": "j-1",
        "cluster_id": "ehpc-a",
        "zone": "jn1a",
        "node_count": 5,
        "reason": "no answer",
    }


@pytest.mark.parametrize(
    ("more", "unassigned_nodes"),
    [
        ({}, True),
        ({"deadline_at": NOW + 1}, True),
        (EXPIRED, False),
        (CANCELLED, False),
        ({"status": "cancelled", "finished_at": NOW}, False),
    ],
)
def test_only_requests_that_are_neither_ended_cancelled_nor_expired_want_nodes(
    more: dict[str, Any], unassigned_nodes: bool
) -> None:
    planned = operation({"r-1": 2, "r-2": 3}, State.PLANNED)
    requests = by_id(served(planned, "r-1", 2, **more), served(planned, "r-2", 3))

    left = still_wanted(planned, requests, NOW)

    assert left == planned.allocations[0 if unassigned_nodes else 1 :]


def test_a_request_that_is_not_in_the_ledger_any_more_wants_nothing() -> None:
    assert still_wanted(operation(state=State.PLANNED), {}, NOW) == ()


def test_submitting_is_written_before_the_call_with_all_that_reconciliation_needs() -> None:
    planned = operation({"r-1": 2, "r-2": 3}, State.PLANNED)
    first, second = served(planned, "r-1", 2), served(planned, "r-2", 3)

    changes = submit(planned, first, second)

    record = written(changes, planned)
    assert changes.written(planned) == record.model_copy(update={"version": planned.version + 1})
    assert changes.sends
    assert record.state is State.SUBMITTING
    assert record.baseline == ("j-1", "j-2")
    assert (record.listed_since, record.sent_at) == (NOW - 70_000, NOW - 250)
    assert record.body == '{"node_count": "5"}'
    assert record.allocations == planned.allocations
    assert due(changes) == {SUBMISSION_DUE: None, OPERATION_DUE: NOW + LEASE_MS}
    for one in (first, second):
        part = assignment_of(written(changes, one))
        assert (part.state, part.submitted_at) == (State.SUBMITTING, NOW - 250)
    assert not releases_cluster(changes)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        pytest.param(CANCELLED, "cancelled", id="cancelled"),
        pytest.param(EXPIRED, "timed_out", id="expired"),
        pytest.param({**CANCELLED, **EXPIRED}, "cancelled", id="cancelled and expired"),
    ],
)
def test_an_unwanted_operation_is_not_sent_and_its_request_ends(more: dict[str, Any], status: str) -> None:
    planned = operation({"r-1": 2, "r-2": 3}, State.PLANNED)
    gone, stays = served(planned, "r-1", 2, **more), served(planned, "r-2", 3)

    changes = submit(planned, gone, stays)
    sending = changes.written(planned)

    assert sending.allocations == (Allocation(request_id="r-2", node_count=3),)
    dropped = written(changes, gone)
    assert dropped.assignments == ()
    assert dropped.status == status
    assert assignment_of(written(changes, stays)).state is State.SUBMITTING


def test_a_request_keeps_its_other_operations_when_dropped_from_one() -> None:
    planned = operation({"r-1": 2, "r-2": 3}, State.PLANNED)
    other = assignment("op-0", 4, State.SUCCEEDED, nodes_added=4)
    gone = request(
        "r-1",
        6,
        unassigned_nodes=0,
        cancelled=True,
        assignments=(other, assignment("op-1", 2, State.PLANNED)),
    )

    changes = submit(planned, gone, served(planned, "r-2", 3))

    ended = written(changes, gone)
    assert ended.assignments == (other,)
    assert ended.status == "cancelled"
    assert ended.nodes_added == 4


def test_a_large_request_dropped_at_its_deadline_keeps_what_it_has() -> None:
    planned = operation({"r-1": 99}, State.PLANNED)
    done = assignment("op-0", 99, State.SUCCEEDED, nodes_added=99)
    large = request(
        "r-1", 250, unassigned_nodes=52, assignments=(done, assignment("op-1", 99, State.PLANNED)), **EXPIRED
    )

    changes = abandon(planned, by_id(large), cluster(), NOW)

    ended = written(changes, large)
    assert (ended.status, ended.unassigned_nodes, ended.nodes_added) == ("timed_out", 0, 99)
    assert demand(changes) == [("ehpc-a", large.pool, "r-1", None)]


def test_an_unwanted_operation_is_abandoned_and_releases_the_cluster() -> None:
    planned = operation({"r-1": 2, "r-2": 3}, State.PLANNED)
    cancelled, ended = served(planned, "r-1", 2, **CANCELLED), served(planned, "r-2", 3, **TIMED_OUT)

    changes = abandon(planned, by_id(cancelled, ended), cluster(), NOW)

    record = written(changes, planned)
    assert (record.state, record.finished_at) == (State.ABANDONED, NOW)
    assert expires(changes, planned)
    assert releases_cluster(changes)
    assert [outcome.request_id for outcome in changes.outcomes] == ["r-1"]
    for one in (cancelled, ended):
        assert written(changes, one).assignments == ()
        assert expires(changes, one)
    assert recorded(changes, "operation_abandoned").level == "info"


def test_a_request_whose_operation_is_abandoned_at_its_deadline_has_timed_out() -> None:
    planned = operation(state=State.PLANNED)
    expired = served(planned, **EXPIRED)

    changes = abandon(planned, by_id(expired), cluster(), NOW)

    assert written(changes, expired).status == "timed_out"


def test_a_retried_operation_keeps_its_state_and_has_a_reason() -> None:
    planned = operation(state=State.PLANNED, attempts=2)
    reason = Reason(kind="quota", message="used up")

    changes = retry_later(planned, at=NOW + 9, reason=reason)

    assert written(changes, planned) == planned.model_copy(update={"attempts": 3, "reason": reason})
    assert due(changes) == {SUBMISSION_DUE: NOW + 9}
    assert not releases_cluster(changes)


@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT, State.HELD])
def test_a_started_job_is_polled_whatever_state_its_operation_had(state: State) -> None:
    sent = operation(state=state, held_reason="reason", job_result=FAILED)
    live = served(sent, "r-1", 2, consecutive_failures=3)
    wait_reason = Reason(kind="busy", message="being changed")
    of = cluster(consecutive_failures=4, wait_reason=wait_reason)

    changes = accept(sent, [live], of, job_id="j-9", poll_at=NOW + 5_000)

    running = written(changes, sent)
    assert (running.state, running.job_id) == (State.RUNNING, "j-9")
    assert (running.held_reason, running.job_result) == (None, None)
    known = written(changes, of)
    assert (known.locked_by, known.zone, known.consecutive_failures, known.wait_reason) == (
        "op-1",
        "jn1a",
        0,
        None,
    )
    assert polled(changes) == [("jn1a", "j-9", "op-1", SENT)]
    assert [(one.job_id, one.operation_id, one.sent_at) for one in owned(changes)] == [("j-9", "op-1", SENT)]
    assert due(changes) == {OPERATION_DUE: None}
    assert listed(changes, Index.HELD) == {"op-1": None}
    assert due(changes, DueRule.IF_ABSENT) == {ZONE_DUE: NOW + 5_000}
    running_on = written(changes, live)
    assert running_on.consecutive_failures == 0
    assert (assignment_of(running_on).state, assignment_of(running_on).job_id) == (State.RUNNING, "j-9")
    event = recorded(changes, "operation_submitted")
    assert event.fields["job_id"] == "j-9"
    assert event.fields["sent_at"] == SENT


def test_an_adopted_job_is_reported_as_adopted() -> None:
    sent = operation(state=State.IN_DOUBT)
    found = sent.event("operation_adopted", by="the operation log")

    changes = accept(sent, [], cluster(), job_id="j-9", poll_at=NOW, event=found)

    assert changes.events == [found]


@pytest.mark.parametrize(
    ("doubt_since", "kept_from"),
    [(None, SENT), (SENT - AN_HOUR, SENT - AN_HOUR), (SENT + 1, SENT)],
)
def test_a_job_is_remembered_as_long_as_a_baseline_reaches_back(
    doubt_since: int | None, kept_from: int
) -> None:
    sent = operation(state=State.SUBMITTING)

    changes = accept(sent, [], cluster(doubt_since=doubt_since), job_id="j-9", poll_at=NOW)

    assert [one.forget_before for one in owned(changes)] == [kept_from - DAY_MS]


@pytest.mark.parametrize(("before", "after"), [(None, SENT), (SENT - AN_HOUR, None)])
def test_an_operation_in_doubt_is_reconciled_at_once_and_dates_the_doubt(
    before: int | None, after: int | None
) -> None:
    sent = operation(state=State.SUBMITTING)
    live = served(sent)
    of = cluster(doubt_since=before)
    what = Doubt(since=NOW, reason="no reply in 30 s", http_status=504, ret_code=5100)

    changes = doubt(sent, [live], of, what)

    record = written(changes, sent)
    assert (record.state, record.doubt, record.baseline) == (State.IN_DOUBT, what, sent.baseline)
    assert due(changes) == {OPERATION_DUE: NOW}
    assert assignment_of(written(changes, live)).state is State.IN_DOUBT
    assert is_written(changes, of) == (after is not None)
    if after is not None:
        assert written(changes, of) == of.model_copy(update={"doubt_since": after})
    event = recorded(changes, "operation_in_doubt")
    assert event.level == "warning"
    assert {"reason": "no reply in 30 s", "http_status": 504, "ret_code": 5100, "sent_at": SENT}.items() <= (
        event.fields.items()
    )


def test_what_the_log_has_shown_is_kept_while_in_doubt() -> None:
    in_doubt = operation(state=State.IN_DOUBT, attempts=4, reason=Reason(kind="quota", message="used up"))
    seen = Candidate(job_id="j-9", job_action="AddNodes", status="pending")

    changes = stay_in_doubt(in_doubt, at=NOW + 7, candidates=[seen], absent_since=NOW)

    record = written(changes, in_doubt)
    assert (record.state, record.candidates, record.absent_since) == (State.IN_DOUBT, (seen,), NOW)
    assert (record.attempts, record.reason) == (0, None)
    assert due(changes) == {OPERATION_DUE: NOW + 7}
    assert not releases_cluster(changes)


@pytest.mark.parametrize(
    ("state", "not_running_on"), [(State.IN_DOUBT, []), (State.RUNNING, [("jn1a", "j-1", "op-1", None)])]
)
def test_a_held_operation_keeps_lock_and_evidence_and_is_not_polled(
    state: State, not_running_on: list[Any]
) -> None:
    stuck = operation(state=state)
    live = served(stuck)

    changes = hold(stuck, [live], reason="two jobs may be it", now=NOW)

    assert written(changes, stuck) == stuck.model_copy(
        update={"state": State.HELD, "held_reason": "two jobs may be it"}
    )
    assert due(changes) == {OPERATION_DUE: None}
    assert listed(changes, Index.HELD) == {"op-1": NOW}
    assert polled(changes) == not_running_on
    assert assignment_of(written(changes, live)).state is State.HELD
    assert recorded(changes, "operation_held").level == "error"
    assert not releases_cluster(changes)


def test_an_ended_job_is_no_longer_polled_its_nodes_are_counted() -> None:
    running = operation()

    changes = completion.note_job_result(running, FAILED, NOW, lag_ms=10_000)

    assert written(changes, running) == running.model_copy(update={"job_result": FAILED})
    assert polled(changes) == [("jn1a", "j-1", "op-1", None)]
    assert due(changes) == {OPERATION_DUE: FAILED.ended_at + 10_000}
    assert not releases_cluster(changes)


def finish(
    of: Operation,
    requests: list[Request],
    job_result: JobResult = SUCCESSFUL,
    *,
    nodes: int,
    ids: tuple[str, ...] = (),
    not_before: int = 0,
) -> ChangeSet:
    around = snapshot(of, *requests, at=cluster(not_before=not_before))
    return completion.finish(around, job_result, nodes_added=nodes, node_ids=ids, now=NOW)


def test_a_successful_job_gives_its_nodes_in_order_and_ends_its_requests() -> None:
    running = operation({"r-1": 2, "r-2": 1})
    first, second = served(running, "r-1", 2), served(running, "r-2", 1)

    changes = finish(running, [second, first], nodes=3, ids=("cln-1", "cln-2", "cln-3"))

    done = written(changes, running)
    assert (done.state, done.job_result, done.finished_at) == (State.SUCCEEDED, SUCCESSFUL, NOW)
    assert (done.nodes_added, done.node_ids) == (3, ("cln-1", "cln-2", "cln-3"))
    assert polled(changes) == [("jn1a", "j-1", "op-1", None)]
    assert {outcome.request_id: outcome.node_ids for outcome in changes.outcomes} == {
        "r-1": ["cln-1", "cln-2"],
        "r-2": ["cln-3"],
    }
    assert {outcome.status for outcome in changes.outcomes} == {"succeeded"}
    assert late_outcomes(changes) == []
    event = recorded(changes, "operation_finished")
    assert (event.level, event.fields["status"], event.fields["nodes_added"]) == ("info", "succeeded", 3)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
@pytest.mark.parametrize(("not_before", "at"), [(0, NOW), (NOW + 60_000, NOW + 60_000)])
def test_the_gate_opens_in_the_step_that_ends_the_operation(state: State, not_before: int, at: int) -> None:
    running = operation()
    job_result = SUCCESSFUL if state is State.SUCCEEDED else FAILED

    changes = finish(running, [served(running)], job_result, nodes=2, not_before=not_before)

    assert written(changes, running).state is state
    assert releases_cluster(changes)
    assert woken(changes) == {"ehpc-a": at}


def test_a_failed_job_serves_the_first_and_reports_what_others_lack() -> None:
    running = operation({"r-1": 2, "r-2": 2, "r-3": 2})
    requests = [served(running, name, 2) for name in ("r-1", "r-2", "r-3")]

    changes = finish(running, requests, FAILED, nodes=3, ids=("cln-1", "cln-2", "cln-3"))

    ends = {outcome.request_id: outcome for outcome in changes.outcomes}
    assert {name: outcome.status for name, outcome in ends.items()} == {
        "r-1": "succeeded",
        "r-2": "partially_succeeded",
        "r-3": "failed",
    }
    assert [ends[name].nodes_added for name in ("r-1", "r-2", "r-3")] == [2, 1, 0]
    assert ends["r-1"].error is None
    assert ends["r-2"].error is not None
    assert ends["r-2"].error.kind == "job_failed"
    assert ends["r-2"].error.message == "job j-1 ended as failed with 1 of 2 nodes: 5201"
    assert [part.error_codes for part in ends["r-3"].operations] == ["5201"]
    assert recorded(changes, "operation_finished").level == "warning"


def test_a_successful_job_with_fewer_nodes_says_so_without_error_codes() -> None:
    running = operation()

    changes = finish(running, [served(running)], nodes=1, ids=("cln-1",))

    (outcome,) = changes.outcomes
    assert outcome.status == "partially_succeeded"
    assert outcome.error is not None
    assert outcome.error.message == "job j-1 ended as succeeded with 1 of 2 nodes"


def test_a_request_that_wants_more_continues_after_one_operation_has_ended() -> None:
    running = operation({"r-1": 99})
    large = request("r-1", 250, unassigned_nodes=151, assignments=(assignment(nodes=99, job_id="j-1"),))

    changes = finish(running, [large], nodes=99)

    goes_on = written(changes, large)
    assert (goes_on.ended, goes_on.nodes_added, goes_on.unassigned_nodes) == (False, 99, 151)
    assert changes.outcomes == []
    assert not expires(changes, large)


def test_nodes_for_an_ended_request_are_reported_as_late() -> None:
    running = operation({"late": 2, "r-2": 2})
    late, live = served(running, "late", 2, **TIMED_OUT), served(running, "r-2", 2)

    changes = finish(running, [late, live], nodes=4, ids=("cln-1", "cln-2", "cln-3", "cln-4"))

    assert [outcome.request_id for outcome in changes.outcomes] == ["r-2"]
    (report,) = late_outcomes(changes)
    assert (report.request_id, report.status, report.node_ids) == ("late", "timed_out", ["cln-1", "cln-2"])
    event = recorded(changes, "late_nodes")
    assert event.requests == ("late",)
    assert event.fields == {"operation_id": "op-1", "job_id": "j-1", "nodes_added": 2}
    assert expires(changes, late)


def test_a_job_without_nodes_for_an_ended_request_is_not_late() -> None:
    running = operation()
    late = served(running, **TIMED_OUT)

    changes = finish(running, [late], FAILED, nodes=0)

    assert late_outcomes(changes) == []
    assert [event.name for event in changes.events] == ["operation_finished"]
    assert assignment_of(written(changes, late)).state is State.FAILED


def test_an_operation_ends_even_if_its_request_or_job_is_unknown() -> None:
    lost = operation({"r-1": 2, "r-2": 2}, job_id=None)
    left = served(lost, "r-2", 2)

    changes = finish(lost, [left], nodes=3, ids=("cln-1", "cln-2", "cln-3"))

    assert releases_cluster(changes)
    assert polled(changes) == []
    (outcome,) = changes.outcomes
    assert (outcome.request_id, outcome.nodes_added, outcome.node_ids) == ("r-2", 1, ["cln-3"])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) <= 99),
    st.data(),
)
def test_each_node_goes_to_one_request_and_none_gets_too_many(sizes: list[int], data: st.DataObject) -> None:
    nodes = data.draw(st.integers(0, sum(sizes)))
    ids = tuple(f"cln-{number}" for number in range(data.draw(st.integers(0, nodes))))
    running = operation({f"r-{place}": size for place, size in enumerate(sizes)})
    requests = [served(running, f"r-{place}", size) for place, size in enumerate(sizes)]

    changes = finish(running, requests, FAILED, nodes=nodes, ids=ids)

    assignments = [assignment_of(written(changes, one)) for one in requests]
    given_nodes = [part.nodes_added for part in assignments]
    assert sum(given_nodes) == nodes
    assert all(0 <= added <= size for added, size in zip(given_nodes, sizes, strict=True))
    assert [name for part in assignments for name in part.node_ids] == list(ids)
    assert all(len(part.node_ids) <= part.nodes_added for part in assignments)
    # In order: a request after one that lacks nodes gets none.
    short = next((at for at, added in enumerate(given_nodes) if added < sizes[at]), len(sizes))
    assert not any(given_nodes[short + 1 :])


@pytest.mark.parametrize("state", [State.REFUSED, State.NOT_EXECUTED, State.SUCCEEDED])
def test_a_job_named_too_late_belongs_to_its_ended_operation(state: State) -> None:
    ended = operation(state=state)

    changes = late_response(snapshot(ended, at=cluster(locked_by=None)), job_id="j-9", now=NOW)

    assert not is_written(changes, ended)
    assert is_written(changes, cluster())
    assert [(one.job_id, one.operation_id) for one in owned(changes)] == [("j-9", "op-1")]
    assert due(changes) == {}
    event = recorded(changes, "late_response")
    assert (event.level, event.requests) == ("error", ("r-1",))
    assert event.fields["response_job_id"] == "j-9"


@pytest.mark.parametrize(("job_id", "not_running_on"), [("j-1", [("jn1a", "j-1", "op-1", None)]), (None, [])])
def test_an_operation_whose_own_answer_names_another_job_is_held(
    job_id: str | None, not_running_on: list[Any]
) -> None:
    running = operation(job_id=job_id, job_result=FAILED)

    changes = late_response(snapshot(running), job_id="j-9", now=NOW)

    record = written(changes, running)
    assert (record.state, record.job_id, record.job_result) == (State.HELD, job_id, None)
    assert record.held_reason == f"it was adopted as job {job_id}, but the provider's response names j-9"
    assert polled(changes) == not_running_on
    assert listed(changes, Index.HELD) == {"op-1": NOW}
    assert due(changes) == {OPERATION_DUE: None}
    assert not releases_cluster(changes)
    assert [event.name for event in changes.events] == ["late_response", "operation_held"]
