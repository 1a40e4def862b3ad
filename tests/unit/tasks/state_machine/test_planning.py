"""Which requests the next operation of a cluster serves, and when."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.ledger.due import Due, DueKind
from tasks.ledger.pauses import Pauses
from tasks.ledger.record_values import Reason, State
from tasks.ledger.records import MAX_READ_OF_A_POOL, Account, Cluster, Request
from tasks.ledger.snapshots import ClusterSnapshot
from tasks.state_machine.planning import Plan, PlanRules, plan_cluster
from tests.support.records import (
    AN_HOUR,
    CLUSTER_DUE,
    NO_ACCOUNT_TROUBLE,
    NO_ARRIVALS,
    NOW,
    assignment_of,
    check,
    cluster,
    demand,
    due,
    forgotten_pools,
    is_written,
    recorded,
    request,
    written,
)

OPEN = cluster(locked_by=None)
UNPAUSED = Pauses.none("ehpc-a")
LEASE_MS = 45_000
PROBE_MS = 5_000


def plan(
    *requests: Request,
    of: Cluster = OPEN,
    account: Account = NO_ACCOUNT_TROUBLE,
    now: int = NOW,
    coalesce_ms: int = 1_000,
    operation_id: str = "op-1",
    empty_pools: Sequence[str] = (),
) -> Plan:
    """Plan for `requests` in this order of arrival."""
    demand: dict[str, list[Request]] = {pool: [] for pool in empty_pools}
    for one in requests:
        demand.setdefault(one.pool, []).append(one)
    made = plan_cluster(
        ClusterSnapshot(of, account, UNPAUSED, demand, NO_ARRIVALS),
        PlanRules(coalesce_ms, LEASE_MS, PROBE_MS),
        now=now,
        operation_id=operation_id,
    )
    check(made.changes)
    return made


def parts(made: Plan) -> list[tuple[str, int]]:
    """What the operation buys for whom; nothing if there is none."""
    if made.operation is None:
        return []
    return [(part.request_id, part.node_count) for part in made.operation.allocations]


def one_after_another(
    requests: Sequence[Request], *, coalesce_ms: int = 1_000, now: int = NOW
) -> Iterator[tuple[int, Plan]]:
    """Plan again and again until nothing is wanted, each operation at an end before the next; with when."""
    waiting = {one.request_id: one for one in requests}
    while any(one.unassigned_nodes for one in waiting.values()):
        made = plan(
            *(one for one in waiting.values() if one.unassigned_nodes), now=now, coalesce_ms=coalesce_ms
        )
        yield now, made
        if made.operation is None:
            again = due(made.changes)[CLUSTER_DUE]
            assert again is not None
            assert again > now
            now = again
        waiting |= {put.request_id: put for put in made.changes.writes if isinstance(put, Request)}


def operations(requests: Sequence[Request]) -> list[list[tuple[str, int]]]:
    return [parts(made) for _, made in one_after_another(requests)]


def test_nothing_is_planned_while_another_operation_holds_the_gate() -> None:
    made = plan(request(), of=cluster(locked_by="op-0"))

    assert made.operation is None
    assert made.changes.writes == []
    assert due(made.changes) == {CLUSTER_DUE: None}


def test_an_operation_takes_the_gate_and_serves_requests_in_order_of_arrival() -> None:
    first, second = request("r-1", 30, version=1), request("r-2", 40)

    made = plan(first, second)

    assert parts(made) == [("r-1", 30), ("r-2", 40)]
    operation = made.operation
    assert operation is not None
    assert (operation.state, operation.version, operation.planned_at) == (State.PLANNED, 0, NOW)
    assert (operation.cluster_id, operation.zone, operation.node_role) == ("ehpc-a", "jn1a", "compute")
    assert written(made.changes, operation) == operation
    assert written(made.changes, OPEN).locked_by == "op-1"
    assert made.changes.expected == [*UNPAUSED.records]
    assert due(made.changes) == {CLUSTER_DUE: None, Due(DueKind.SUBMISSION, "op-1"): NOW + LEASE_MS}
    for one in (first, second):
        planned = written(made.changes, one)
        assert planned.unassigned_nodes == 0
        assert assignment_of(planned).node_count == one.unassigned_nodes
        assert assignment_of(planned).state is State.PLANNED
        assert ("ehpc-a", one.pool, one.request_id, None) in demand(made.changes)
    event = recorded(made.changes, "operation_planned")
    assert event.requests == ("r-1", "r-2")
    assert event.fields["node_count"] == 70


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ([99], [99]),
        ([99, 1], [99]),
        ([60, 39, 1], [60, 39]),
        ([50, 50], [50]),
        ([60, 40, 39], [60]),
        ([30, 250], [30]),
        ([250, 10], [99]),
        ([1] * 120, [1] * 99),
    ],
)
def test_an_operation_has_at_most_99_nodes_and_splits_no_smaller_request(
    sizes: list[int], taken: list[int]
) -> None:
    requests = [request(f"r-{place}", nodes) for place, nodes in enumerate(sizes)]

    assert [nodes for _, nodes in parts(plan(*requests))] == taken


def test_a_large_request_is_bought_in_parts_and_others_join_its_last() -> None:
    large, small = request("large", 250), request("small", 47)

    assert operations([large, small]) == [
        [("large", 99)],
        [("large", 99)],
        [("large", 52), ("small", 47)],
    ]


def test_what_is_left_of_a_large_request_stays_in_demand() -> None:
    large = request("large", 250)

    made = plan(large)

    assert written(made.changes, large).unassigned_nodes == 151
    assert demand(made.changes) == []


@pytest.mark.parametrize(
    ("age_ms", "look_again"),
    [(0, NOW + 1_000), (999, NOW + 1), (1_000, None), (60_000, None)],
)
def test_a_request_waits_for_others_to_join_until_its_window_has_passed(
    age_ms: int, look_again: int | None
) -> None:
    made = plan(request("r-1", accepted_at=NOW - age_ms), request("r-2", accepted_at=NOW))

    assert (made.operation is None) == (look_again is not None)
    assert due(made.changes)[CLUSTER_DUE] == look_again
    if made.operation is None:
        assert made.changes.writes == []
        assert made.changes.expected == [OPEN, NO_ARRIVALS, *UNPAUSED.records]


def test_without_a_window_a_request_goes_at_once() -> None:
    assert parts(plan(request(accepted_at=NOW), coalesce_ms=0)) == [("r-1", 2)]


@pytest.mark.parametrize(
    "later",
    [
        pytest.param([("r-2", {"nodes": 97})], id="it is full"),
        pytest.param([("r-2", {"nodes": 98})], id="the next does not fit"),
        pytest.param([("r-2", {"exclusive": True})], id="the next goes alone"),
        pytest.param([("r-2", {"node_name": "gpu"})], id="the next has a name"),
    ],
)
def test_an_operation_that_no_request_can_join_does_not_wait(later: list[tuple[str, dict[str, Any]]]) -> None:
    others = [request(name, accepted_at=NOW, **more) for name, more in later]

    assert plan(request("r-1", accepted_at=NOW), *others).operation is not None


@pytest.mark.parametrize(
    "more",
    [
        {"node_name": "gpu"},
        {"private_ips": ["10.0.0.1", "10.0.0.2"]},
        {"exclusive": True},
        {"max_nodes_per_call": 5},
    ],
)
def test_an_exclusive_request_shares_its_operation_with_no_other(more: dict[str, Any]) -> None:
    exclusive = request("exclusive", accepted_at=NOW, **more)

    assert operations([request("before"), exclusive, request("after")]) == [
        [("before", 2)],
        [("exclusive", 2)],
        [("after", 2)],
    ]
    assert parts(plan(exclusive)) == [("exclusive", 2)]


def test_a_request_with_a_maximum_per_call_is_bought_in_parts() -> None:
    assert operations([request("r-1", 10, max_nodes_per_call=4)]) == [
        [("r-1", 4)],
        [("r-1", 4)],
        [("r-1", 2)],
    ]


def test_a_request_waiting_for_capacity_does_not_block_its_pool() -> None:
    waits = request("waits", not_before=NOW + 1)

    assert parts(plan(waits, request("goes"))) == [("goes", 2)]
    assert parts(plan(waits, request("goes"), now=NOW + 1)) == [("waits", 2), ("goes", 2)]


def test_when_all_wait_for_capacity_the_first_sets_the_time() -> None:
    made = plan(request("r-1", not_before=NOW + 9_000), request("r-2", not_before=NOW + 2_000))

    assert made.operation is None
    assert due(made.changes) == {CLUSTER_DUE: NOW + 2_000}


@pytest.mark.parametrize(
    "waits",
    [
        request("waits", not_before=NOW + 9_000, resource_conf={"cpu": 4}),
        request("waits", accepted_at=NOW, resource_conf={"cpu": 4}),
    ],
    ids=["for capacity", "for others to join"],
)
def test_a_pool_that_waits_does_not_keep_the_gate_from_another(waits: Request) -> None:
    assert parts(plan(waits, request("goes"))) == [("goes", 2)]


def test_of_several_pools_the_one_whose_first_request_came_first_goes_first() -> None:
    later = request("later", accepted_at=NOW - 5_000)
    first = request("first", accepted_at=NOW - 9_000, node_role="login")

    assert parts(plan(later, first)) == [("first", 2)]


@pytest.mark.parametrize(
    ("of", "account", "until"),
    [
        (cluster(locked_by=None, not_before=NOW + 7_000), NO_ACCOUNT_TROUBLE, NOW + 7_000),
        (OPEN, Account(blocked_since=NOW - 1, not_before=NOW + 8_000), NOW + 8_000),
        (cluster(locked_by=None, not_before=NOW + 9_000), Account(not_before=NOW + 8_000), NOW + 9_000),
        (cluster(locked_by=None, not_before=NOW + 1), Account(not_before=NOW + 2), NOW + 1_000),
    ],
    ids=["cluster", "account", "both", "but the window is longer"],
)
def test_a_waiting_cluster_or_account_is_planned_again_then(
    of: Cluster, account: Account, until: int
) -> None:
    made = plan(request(accepted_at=NOW), of=of, account=account)

    assert made.operation is None
    assert due(made.changes) == {CLUSTER_DUE: until}


def test_a_refused_account_is_tried_by_one_cluster_only() -> None:
    account = Account(
        blocked_since=NOW - AN_HOUR,
        not_before=NOW,
        consecutive_failures=4,
        reason=Reason(kind="account_blocked", message="no money"),
        version=2,
    )

    probe = plan(request(), account=account)
    paused = written(probe.changes, account)
    other = plan(request(), account=paused, operation_id="op-2")

    assert probe.operation is not None
    assert paused == account.model_copy(update={"not_before": NOW + PROBE_MS})
    assert other.operation is None
    assert due(other.changes)[CLUSTER_DUE] == NOW + PROBE_MS


def test_an_accepted_account_is_not_written_by_planning() -> None:
    assert not is_written(plan(request()).changes, NO_ACCOUNT_TROUBLE)


def test_requests_that_name_another_zone_are_rejected_once_the_zone_is_known() -> None:
    wrong, right = request("wrong", zone="pek3"), request("right")
    known = cluster(locked_by=None, zone="jn1a")

    made = plan(wrong, right, of=known)

    assert parts(made) == [("right", 2)]
    assert ("ehpc-a", wrong.pool, "wrong", None) in demand(made.changes)
    ended = written(made.changes, wrong)
    assert ended.status == "rejected"
    (outcome,) = made.changes.outcomes
    assert outcome.error is not None
    assert outcome.error.kind == "wrong_zone"
    assert outcome.error.message == "cluster ehpc-a is in zone jn1a, not in pek3"


def test_a_pool_with_only_wrong_zones_is_planned_again_to_be_forgotten() -> None:
    wrong = request("wrong", zone="pek3")

    made = plan(wrong, of=cluster(locked_by=None, zone="jn1a"))
    after = plan(of=cluster(locked_by=None, zone="jn1a"), empty_pools=[wrong.pool])

    assert made.operation is None
    assert due(made.changes) == {CLUSTER_DUE: NOW}
    assert due(after.changes) == {CLUSTER_DUE: None}
    assert forgotten_pools(after.changes) == [("ehpc-a", wrong.pool)]


def test_any_zone_may_be_tried_until_a_job_has_shown_it() -> None:
    assert parts(plan(request("r-1", zone="pek3"))) == [("r-1", 2)]


@pytest.mark.parametrize(
    "more",
    [
        {"deadline_at": NOW},
        {"cancelled": True, "unassigned_nodes": 0},
        {"status": "timed_out", "finished_at": NOW},
    ],
    ids=["expired", "cancelled", "ended"],
)
def test_unwanted_demand_is_not_planned(more: dict[str, Any]) -> None:
    gone = request("gone", **more)

    assert parts(plan(gone, request("r-2"))) == [("r-2", 2)]
    nothing = plan(gone)
    assert nothing.operation is None
    assert due(nothing.changes) == {CLUSTER_DUE: None}
    assert nothing.changes.writes == []
    assert nothing.changes.expected == [OPEN, NO_ARRIVALS, *UNPAUSED.records]


@pytest.mark.parametrize("locked_by", [None, "op-0"])
def test_empty_pools_are_forgotten_and_others_are_not(locked_by: str | None) -> None:
    made = plan(request(), of=cluster(locked_by=locked_by), empty_pools=["p-1", "p-2"])

    assert forgotten_pools(made.changes)[:2] == [("ehpc-a", "p-1"), ("ehpc-a", "p-2")]


def test_a_pool_is_forgotten_with_the_last_of_its_demand() -> None:
    asking = request(nodes=99)

    made = plan(asking)

    assert forgotten_pools(made.changes) == [("ehpc-a", asking.pool)]


def test_behind_a_crowd_whose_deadline_has_passed_others_are_looked_for_again() -> None:
    crowd = [request(f"r-{number}", deadline_at=NOW) for number in range(MAX_READ_OF_A_POOL)]

    assert due(plan(*crowd).changes) == {CLUSTER_DUE: NOW + 1_000}
    assert due(plan(*crowd[1:]).changes) == {CLUSTER_DUE: None}


def test_a_pool_is_not_forgotten_while_a_request_may_wait_there() -> None:
    assert forgotten_pools(plan(request("r-1", nodes=99), request("r-2")).changes) == []
    assert forgotten_pools(plan(request("r-1", nodes=120)).changes) == []
    many = [request(f"r-{number}") for number in range(MAX_READ_OF_A_POOL)]
    assert forgotten_pools(plan(*many).changes) == []


@st.composite
def demands(draw: st.DrawFn, *, plain: bool = False) -> list[Request]:
    """Requests in order of arrival; `plain`: of one pool, with nothing special about any."""
    requests = []
    arrival = NOW - 10_000
    for place in range(draw(st.integers(1, 8))):
        arrival += draw(st.integers(0, 3_000))
        more: dict[str, Any] = {}
        nodes = draw(st.one_of(st.integers(1, 99), st.integers(1, 300)))
        if not plain:
            more["not_before"] = draw(st.sampled_from([0, 0, 0, NOW + 700, NOW + 5_000]))
            more["exclusive"] = draw(st.sampled_from([False, False, False, True]))
            more["max_nodes_per_call"] = draw(st.sampled_from([None, None, None, 17, 49]))
            more["resource_conf"] = draw(st.sampled_from([None, None, {"cpu": 4}]))
            more["node_name"] = draw(st.sampled_from([None, None, "gpu"])) if nodes <= 99 else None
        requests.append(request(f"r-{place:02}", nodes, accepted_at=arrival, **more))
    return requests


@settings(deadline=None, max_examples=60)
@given(demands(), st.sampled_from([0, 1_000, 4_000]))
def test_whatever_is_wanted_every_node_is_bought_once_and_in_time(
    requests: list[Request], coalesce_ms: int
) -> None:
    spec = {one.request_id: one for one in requests}
    left = {one.request_id: one.unassigned_nodes for one in requests}
    served: dict[str, int] = dict.fromkeys(spec, 0)
    for now, made in one_after_another(requests, coalesce_ms=coalesce_ms):
        taken = parts(made)
        if made.operation is None:
            assert now <= requests[-1].accepted_at + max(5_000, coalesce_ms) + 10_000
            continue
        together = [spec[name] for name, _ in taken]
        assert 1 <= made.operation.node_count <= 99
        assert len({one.pool for one in together}) == 1
        assert [one.request_id for one in together] == sorted(one.request_id for one in together)
        for one, (_, nodes) in zip(together, taken, strict=True):
            assert 1 <= nodes <= left[one.request_id]
            assert nodes <= (one.max_nodes_per_call or 99)
            assert one.not_before <= now
            if one.exclusive or one.valid_spec.exclusive or one.max_nodes_per_call:
                assert len(together) == 1
            left[one.request_id] -= nodes
            served[one.request_id] += 1
    assert set(left.values()) == {0}
    for name, one in spec.items():
        size = min(one.max_nodes_per_call or 99, 99)
        assert served[name] == -(-one.unassigned_nodes // size)


@settings(deadline=None, max_examples=60)
@given(demands(plain=True))
def test_in_one_pool_requests_are_served_in_order_of_arrival(requests: list[Request]) -> None:
    order = [name for _, made in one_after_another(requests) for name, _ in parts(made)]

    assert list(dict.fromkeys(order)) == [one.request_id for one in requests]
    assert order == sorted(order)
