"""What a plan within the policy writes: who ends, who waits, what is counted."""

from typing import Any

from tasks.ledger.pauses import Pauses
from tasks.ledger.record_values import State
from tasks.ledger.records import Request
from tasks.ledger.snapshots import ClusterSnapshot
from tasks.ledger.usage_entries import LimitCheck
from tasks.limits.checks import CurrentUsage
from tasks.state_machine.plan_limits import COUNT_RETRY_MS, LIMIT_RETRY_MS, PlanLimits
from tasks.state_machine.planning import Plan, PlanRules, plan_cluster
from tasks.state_machine.submission import take_back
from tests.support.records import (
    CLUSTER_DUE,
    NO_ACCOUNT_TROUBLE,
    NO_ARRIVALS,
    NOW,
    check,
    cluster,
    demand,
    due,
    is_written,
    limit_checks,
    operation,
    recorded,
    request,
    served,
    woken,
    written,
)
from tests.support.requests import HOUR, bought, policy

NOTHING_BOUGHT = CurrentUsage()


def plan(*requests: Request, usage: CurrentUsage = NOTHING_BOUGHT, **limits: Any) -> Plan:
    waiting = {requests[0].pool: list(requests)}
    snapshot = ClusterSnapshot(
        cluster(locked_by=None), NO_ACCOUNT_TROUBLE, Pauses.none("ehpc-a"), waiting, NO_ARRIVALS
    )
    made = plan_cluster(
        snapshot,
        PlanRules(1_000, 45_000, 5_000),
        now=NOW,
        operation_id="op-1",
        limits=PlanLimits(policy(**limits), usage),
    )
    check(made.changes)
    return made


def demand_of(made: Plan) -> dict[str, int | None]:
    return {request_id: order for _, _, request_id, order in demand(made.changes)}


def test_what_fits_is_planned_and_counted_on_every_meter_it_belongs_to() -> None:
    first, second = request("r-1", 3, requested_by="nightly"), request("r-2", 4)
    made = plan(
        first,
        second,
        nodes_per_hour=100,
        nodes_per_day=500,
        producers={"nightly": {"nodes_per_hour": 50}},
    )

    assert made.operation is not None
    assert [(part.request_id, part.requested_by) for part in made.operation.allocations] == [
        ("r-1", "nightly"),
        ("r-2", None),
    ]
    assert {(counter.scope, counter.window_s, counter.producer) for counter in made.operation.counters} == {
        (scope, window_s, producer)
        for scope, producer in (
            ("account", None),
            ("cluster:ehpc-a", None),
            ("producer:nightly", "nightly"),
        )
        for window_s in (3_600, 86_400)
    }
    assert set(limit_checks(made.changes)) == {
        LimitCheck("account", 3_600, 7, 100),
        LimitCheck("account", 86_400, 7, 500),
        LimitCheck("producer:nightly", 3_600, 3, 50),
    }


def test_without_limits_nothing_is_counted() -> None:
    made = plan(request())

    assert made.operation is not None
    assert made.operation.counters == ()
    assert limit_checks(made.changes) == []
    assert made.operation.content() == made.operation.model_copy(update={"counters": ()}).content()


def test_a_request_that_may_not_wait_is_rejected_with_rule_and_usage() -> None:
    fits, over = request("r-1", 5), request("r-2", 6)

    made = plan(fits, over, usage=bought(90), nodes_per_hour=100)

    assert made.operation is not None
    assert made.operation.request_ids == ("r-1",)
    ended = written(made.changes, over)
    assert ended.status == "rejected"
    assert ended.last_reason is not None
    assert ended.last_reason.kind == "limit"
    assert ended.last_reason.message.startswith("limits.nodes_per_hour = 100: 95 nodes were bought")
    assert demand_of(made)["r-2"] is None
    event = recorded(made.changes, "request_rejected")
    assert (event.fields["rule"], event.fields["limit"], event.fields["present"]) == (
        "limits.nodes_per_hour",
        100,
        95,
    )


def test_what_waits_goes_behind_all_that_can_go_on() -> None:
    over, fits = request("r-1", 30), request("r-2", 5)

    made = plan(over, fits, usage=bought(90), nodes_per_hour=100, wait=True)

    assert made.operation is not None
    assert made.operation.request_ids == ("r-2",)
    waits = written(made.changes, over)
    assert waits.unassigned_nodes == 30
    assert waits.not_before == NOW + LIMIT_RETRY_MS
    assert demand_of(made)["r-1"] == waits.not_before
    assert recorded(made.changes, "request_over_limit").requests == ("r-1",)


def test_a_wait_ends_with_the_window_if_that_is_sooner() -> None:
    usage = bought(100, HOUR, (NOW + 7_000, 90))

    made = plan(request("r-1", 30), usage=usage, nodes_per_hour=100, wait=True)

    assert made.operation is None
    assert written(made.changes, request("r-1", 30)).not_before == NOW + 7_000
    assert due(made.changes)[CLUSTER_DUE] == NOW


def test_a_cluster_over_its_limit_is_not_counted_every_minute() -> None:
    made = plan(request("r-1", 30), usage=CurrentUsage(present=80), nodes_per_cluster=100, wait=True)

    assert written(made.changes, request("r-1", 30)).not_before == NOW + COUNT_RETRY_MS


def test_a_wait_is_reported_once_for_each_rule() -> None:
    first = plan(request("r-1", 30), usage=bought(90), nodes_per_hour=100, wait=True)
    waits = written(first.changes, request("r-1", 30)).model_copy(update={"not_before": 0})

    again = plan(waits, usage=bought(91), nodes_per_hour=100, wait=True)
    other = plan(waits, usage=bought(0, present=80), nodes_per_cluster=100, wait=True)

    assert [event.name for event in again.changes.events] == []
    assert [event.name for event in other.changes.events] == ["request_over_limit"]


def test_a_large_request_gets_its_part_and_the_rest_waits() -> None:
    large = request("r-1", 250)

    made = plan(large, usage=bought(70), nodes_per_hour=100, wait=True)

    assert made.operation is not None
    assert made.operation.node_count == 30
    left = written(made.changes, large)
    assert (left.unassigned_nodes, left.not_before) == (220, NOW + LIMIT_RETRY_MS)


# An operation that waited too long to be sent


def test_a_withdrawn_operation_returns_its_nodes_and_releases_the_cluster() -> None:
    planned = operation({"r-1": 2, "r-2": 3}, State.PLANNED)
    all_in = served(planned, "r-1", 2)
    part = served(planned, "r-2", 3, unassigned_nodes=4)
    gone = served(planned, "r-3", 1, cancelled=True)

    changes = take_back(planned, {"r-1": all_in, "r-2": part}, cluster(), NOW)

    assert written(changes, planned).state is State.ABANDONED
    assert written(changes, cluster()).locked_by is None
    assert (written(changes, all_in).unassigned_nodes, written(changes, all_in).assignments) == (2, ())
    assert written(changes, part).unassigned_nodes == 7
    assert {name: order for _, _, name, order in demand(changes)} == {
        "r-1": all_in.accepted_at,
        "r-2": part.accepted_at,
    }
    assert woken(changes)["ehpc-a"] == NOW
    assert changes.sends
    assert not is_written(changes, gone)


def test_a_request_without_interest_ends_when_its_operation_is_withdrawn() -> None:
    planned = operation({"r-1": 2, "r-2": 3}, State.PLANNED)
    cancelled = served(planned, "r-1", 2, cancelled=True)
    late = served(planned, "r-2", 3, deadline_at=NOW)

    changes = take_back(planned, {"r-1": cancelled, "r-2": late}, cluster(), NOW)

    assert written(changes, cancelled).status == "cancelled"
    assert written(changes, late).status == "timed_out"
    assert demand(changes) == []
