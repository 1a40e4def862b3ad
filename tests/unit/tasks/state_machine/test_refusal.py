"""What a refused operation means for its requests, its cluster and the account."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.ehpc.errors import (
    AccountRefused,
    Busy,
    EhpcError,
    NotAccepted,
    NotSent,
    QuotaExhausted,
    Rejected,
    Shortage,
)
from tasks.ledger.change_entries import Index
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.pauses import Pauses
from tasks.ledger.record_values import Reason, State
from tasks.ledger.records import Account, Cluster, Operation, Request
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine.backoff import BackoffPolicy
from tasks.state_machine.refusal import block_account, refuse
from tests.support.records import (
    AN_HOUR,
    NO_ACCOUNT_TROUBLE,
    NOW,
    OPERATION_DUE,
    assignment,
    cluster,
    demand,
    due,
    expires,
    is_written,
    listed,
    operation,
    polled,
    recorded,
    request,
    served,
    woken,
    written,
)

SHORTAGE = Shortage("the provider answered 5200: too few nodes", ret_code=5200)
BUSY = Busy("the provider answered 5300: being changed", ret_code=5300)
REJECTED = Rejected("the provider answered 1100: no such node_role", ret_code=1100)
ACCOUNT = AccountRefused("the provider answered 2000: no money", ret_code=2000)
QUOTA = QuotaExhausted("the provider answered 2500: too many calls", ret_code=2500)
NOT_ACCEPTED = NotAccepted("the provider answered 1300: too old", ret_code=1300)
NOT_SENT = NotSent("connection refused")

ALL = [SHORTAGE, BUSY, REJECTED, ACCOUNT, QUOTA, NOT_ACCEPTED, NOT_SENT]
BY_CLUSTER = [BUSY, NOT_ACCEPTED, NOT_SENT]
WAITED_OUT = [BUSY, ACCOUNT, QUOTA, NOT_ACCEPTED, NOT_SENT]

FIRST_WAIT_MS = (500, 5_000)


def kind(error: EhpcError) -> str:
    return error.kind


def after(
    error: EhpcError,
    *requests: Request,
    of: Operation | None = None,
    at: Cluster | None = None,
    account: Account = NO_ACCOUNT_TROUBLE,
    **more: Any,
) -> ChangeSet:
    refused = of or operation({one.request_id: 2 for one in requests}, State.SUBMITTING)
    by_id = {one.request_id: one for one in requests}
    around = OperationSnapshot(refused, by_id, at or cluster(), account, Pauses.none("ehpc-a"))
    return refuse(around, error, now=NOW, backoff=BackoffPolicy(5.0, random.Random(7)), **more)


def sent(request_id: str = "r-1", nodes: int = 2, **more: Any) -> Request:
    return served(operation(state=State.SUBMITTING), request_id, nodes, **more)


@pytest.mark.parametrize("error", ALL, ids=kind)
def test_a_refused_operation_ends_releases_the_cluster_and_is_reported(error: EhpcError) -> None:
    refused, live = operation(state=State.SUBMITTING), sent()

    changes = after(error, live, of=refused)

    record = written(changes, refused)
    assert (record.state, record.finished_at) == (State.REFUSED, NOW)
    assert record.reason == Reason(kind=error.kind, message=str(error), code=error.ret_code)
    assert expires(changes, refused)
    assert written(changes, cluster()).locked_by is None
    assert due(changes)[OPERATION_DUE] is None
    assert woken(changes)["ehpc-a"] is not None
    assert listed(changes, Index.HELD) == {"op-1": None}
    assert polled(changes) == []
    back = written(changes, live)
    assert back.assignments == ()
    assert back.refusals == 1
    assert back.last_reason == record.reason
    event = recorded(changes, "operation_refused")
    assert event.requests == ("r-1",)
    assert (event.fields["kind"], event.fields["ret_code"]) == (error.kind, error.ret_code)
    assert event.fields["message"] == str(error)


def test_a_not_executed_operation_is_reported_and_its_job_not_polled() -> None:
    held = operation(state=State.HELD, job_id="j-1")

    changes = after(NOT_ACCEPTED, sent(), of=held, state=State.NOT_EXECUTED)

    assert written(changes, held).state is State.NOT_EXECUTED
    assert polled(changes) == [("jn1a", "j-1", "op-1", None)]
    assert recorded(changes, "operation_not_executed").level == "warning"


@pytest.mark.parametrize("error", WAITED_OUT, ids=kind)
@pytest.mark.parametrize("on_shortage", ["wait", "partial", "fail"])
def test_a_neutral_refusal_returns_the_nodes_to_their_place(error: EhpcError, on_shortage: str) -> None:
    live = sent(on_shortage=on_shortage)

    changes = after(error, live)

    back = written(changes, live)
    assert (back.unassigned_nodes, back.not_before, back.consecutive_failures, back.max_nodes_per_call) == (
        2,
        0,
        0,
        None,
    )
    assert not back.exclusive
    assert demand(changes) == [("ehpc-a", live.pool, "r-1", live.accepted_at)]
    assert changes.outcomes == []


def test_what_comes_back_is_added_to_what_is_still_wanted() -> None:
    large = request(
        "r-1", 250, unassigned_nodes=151, assignments=(assignment(nodes=99, state=State.SUBMITTING),)
    )

    changes = after(BUSY, large)

    assert written(changes, large).unassigned_nodes == 250


@pytest.mark.parametrize("error", BY_CLUSTER, ids=kind)
def test_a_busy_cluster_waits_longer_each_time_in_a_row(error: EhpcError) -> None:
    for consecutive_failures in range(8):
        at = cluster(consecutive_failures=consecutive_failures, not_before=NOW - 1)

        changes = after(error, sent(), at=at)

        waits = written(changes, at)
        bound = min(5_000 * 2**consecutive_failures, 300_000)
        assert bound / 10 <= waits.not_before - NOW <= bound
        assert waits.consecutive_failures == consecutive_failures + 1
        assert waits.wait_reason == Reason(kind=error.kind, message=str(error), code=error.ret_code)
        assert woken(changes)["ehpc-a"] == waits.not_before


@pytest.mark.parametrize("error", [one for one in ALL if one not in BY_CLUSTER], ids=kind)
def test_what_does_not_come_from_the_cluster_ends_its_waiting(error: EhpcError) -> None:
    at = cluster(consecutive_failures=3, wait_reason=Reason(kind="busy", message="being changed"))

    changes = after(error, sent(), at=at)

    after_it = written(changes, at).model_copy(update={"breakers": {}})
    assert after_it == at.model_copy(
        update={"locked_by": None, "consecutive_failures": 0, "wait_reason": None}
    )
    assert woken(changes)["ehpc-a"] == NOW


def test_a_shortage_is_waited_out_by_the_request_longer_each_time() -> None:
    for consecutive_failures in range(8):
        live = sent(consecutive_failures=consecutive_failures)

        back = written(after(SHORTAGE, live), live)

        bound = min(5_000 * 2**consecutive_failures, 300_000)
        assert bound / 10 <= back.not_before - NOW <= bound
        assert (back.unassigned_nodes, back.consecutive_failures, back.max_nodes_per_call) == (
            2,
            consecutive_failures + 1,
            None,
        )


@pytest.mark.parametrize(("tried", "next_try"), [(2, 1), (3, 1), (50, 25), (99, 49)])
def test_a_request_that_accepts_a_part_tries_half_as_many(tried: int, next_try: int) -> None:
    live = sent(nodes=tried, on_shortage="partial")
    of = operation({"r-1": tried}, State.SUBMITTING)

    changes = after(SHORTAGE, live, of=of)

    back = written(changes, live)
    assert (back.unassigned_nodes, back.max_nodes_per_call, back.not_before) == (tried, next_try, 0)
    assert demand(changes) == [("ehpc-a", live.pool, "r-1", live.accepted_at)]


def test_named_nodes_are_bought_in_one_call_or_not_at_all() -> None:
    named = sent(nodes=2, on_shortage="partial", private_ips=("10.0.0.1", "10.0.0.2"))

    changes = after(SHORTAGE, named, of=operation({"r-1": 2}, State.SUBMITTING))

    assert (written(changes, named).status, written(changes, named).unassigned_nodes) == ("failed", 0)


@pytest.mark.parametrize(
    ("came", "status"), [(0, "failed"), (3, "partially_succeeded")], ids=["none came", "some came"]
)
@pytest.mark.parametrize(
    ("on_shortage", "tried"), [("partial", 1), ("fail", 1), ("fail", 2)], ids=["partial-1", "fail-1", "fail"]
)
@pytest.mark.parametrize("waiting", [0, 4])
def test_a_request_that_does_not_wait_ends_with_what_it_has(
    on_shortage: str, tried: int, came: int, status: str, waiting: int
) -> None:
    before = (assignment("op-0", came, State.SUCCEEDED, nodes_added=came),) if came else ()
    live = request(
        "r-1",
        tried + came + waiting,
        unassigned_nodes=waiting,
        assignments=(*before, assignment(nodes=tried, state=State.SUBMITTING)),
        on_shortage=on_shortage,
    )

    changes = after(SHORTAGE, live, of=operation({"r-1": tried}, State.SUBMITTING))

    ended = written(changes, live)
    assert (ended.status, ended.unassigned_nodes, ended.nodes_added) == (status, 0, came)
    (outcome,) = changes.outcomes
    assert outcome.error is not None
    assert (outcome.error.kind, outcome.error.code) == ("shortage", 5200)
    assert outcome.refusals == 1
    assert demand(changes) == ([("ehpc-a", live.pool, "r-1", None)] if waiting else [])


@pytest.mark.parametrize("on_shortage", ["wait", "partial", "fail"])
def test_a_shortage_of_several_requests_sends_each_alone_next_time(on_shortage: str) -> None:
    first, second = sent("r-1", on_shortage=on_shortage, consecutive_failures=2), sent("r-2")

    changes = after(SHORTAGE, first, second)

    for live in (first, second):
        back = written(changes, live)
        assert back.exclusive
        assert (back.unassigned_nodes, back.not_before, back.consecutive_failures) == (
            2,
            0,
            live.consecutive_failures,
        )
        assert back.max_nodes_per_call is None
    assert changes.outcomes == []


@pytest.mark.parametrize(
    ("came", "status"), [(0, "rejected"), (3, "partially_succeeded")], ids=["none came", "some came"]
)
def test_a_rejection_ends_all_requests_of_the_operation_with_what_they_have(came: int, status: str) -> None:
    before = (assignment("op-0", came, State.SUCCEEDED, nodes_added=came),) if came else ()
    part = assignment(state=State.SUBMITTING)
    first = request("r-1", 9 + came, unassigned_nodes=7, assignments=(*before, part))
    second = sent("r-2")

    changes = after(REJECTED, first, second)

    ends = {outcome.request_id: outcome for outcome in changes.outcomes}
    assert (ends["r-1"].status, ends["r-2"].status) == (status, "rejected")
    assert all(end.error is not None and end.error.code == 1100 for end in ends.values())
    assert demand(changes) == [("ehpc-a", first.pool, "r-1", None)]


@pytest.mark.parametrize("error", ALL, ids=kind)
def test_a_cancelled_request_ends_and_requests_nothing_more(error: EhpcError) -> None:
    cancelled = sent(cancelled=True)

    changes = after(error, cancelled)

    ended = written(changes, cancelled)
    assert (ended.status, ended.unassigned_nodes, ended.assignments) == ("cancelled", 0, ())
    assert demand(changes) == []


@pytest.mark.parametrize("error", ALL, ids=kind)
def test_an_ended_request_stays_as_it_is_and_requests_nothing_more(error: EhpcError) -> None:
    ended = sent(status="timed_out", finished_at=NOW - 1)

    changes = after(error, ended)

    record = written(changes, ended)
    assert (record.status, record.finished_at, record.unassigned_nodes) == ("timed_out", NOW - 1, 0)
    assert expires(changes, ended)
    assert demand(changes) == []
    assert changes.outcomes == []


@pytest.mark.parametrize("error", ALL, ids=kind)
def test_only_what_is_said_of_the_account_pauses_the_account(error: EhpcError) -> None:
    account = Account(consecutive_failures=1, blocked_since=NOW - AN_HOUR, version=4)

    changes = after(error, sent(), account=account)

    assert is_written(changes, account) == (error is ACCOUNT)
    if error is ACCOUNT:
        paused = written(changes, account)
        assert paused.blocked_since == NOW - AN_HOUR
        assert paused.consecutive_failures == 2
        assert 1_000 <= paused.not_before - NOW <= 10_000
        assert paused.reason == Reason(kind="account_blocked", message=str(ACCOUNT), code=2000)


def test_an_account_is_refused_since_the_first_refusal() -> None:
    reason = Reason(kind="account_blocked", message="no money", code=2000)

    paused = block_account(Account(), reason, NOW, BackoffPolicy(5.0, random.Random(7)))

    assert (paused.blocked_since, paused.consecutive_failures) == (NOW, 1)
    low, high = FIRST_WAIT_MS
    assert low <= paused.not_before - NOW <= high


@pytest.mark.parametrize(
    ("error", "alert", "level"),
    [
        (ACCOUNT, None, "error"),
        (REJECTED, False, "warning"),
        (REJECTED, True, "error"),
        (SHORTAGE, None, "warning"),
        (BUSY, None, "warning"),
    ],
)
def test_what_needs_an_operator_is_logged_as_an_error(
    error: EhpcError, alert: bool | None, level: str
) -> None:
    if alert is not None:
        error = Rejected(str(error), ret_code=error.ret_code)
        error.alert = alert

    assert recorded(after(error, sent()), "operation_refused").level == level


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "nodes": st.integers(1, 30),
                "waiting": st.integers(0, 200),
                "on_shortage": st.sampled_from(["wait", "partial", "fail"]),
                "cancelled": st.booleans(),
            }
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(ALL),
)
def test_no_node_is_lost_or_requested_twice_whatever_is_refused(
    wishes: list[dict[str, Any]], error: EhpcError
) -> None:
    requests = [
        request(
            f"r-{place}",
            wish["nodes"] + wish["waiting"],
            unassigned_nodes=0 if wish["cancelled"] else wish["waiting"],
            assignments=(assignment(nodes=wish["nodes"], state=State.SUBMITTING),),
            cancelled=wish["cancelled"],
            on_shortage=wish["on_shortage"],
        )
        for place, wish in enumerate(wishes)
    ]
    of = operation(
        {one.request_id: wish["nodes"] for one, wish in zip(requests, wishes, strict=True)}, State.SUBMITTING
    )

    changes = after(error, *requests, of=of)

    queue = {entry[2]: entry[3] for entry in demand(changes)}
    for one in requests:
        back = written(changes, one)
        if back.ended:
            assert back.unassigned_nodes == 0
            assert queue.get(one.request_id) is None
            assert one.unassigned_nodes == 0 or one.request_id in queue
        else:
            assert back.unassigned_nodes == one.valid_spec.node_count
            assert queue[one.request_id] == one.accepted_at
    assert len(changes.outcomes) == len({outcome.request_id for outcome in changes.outcomes})
