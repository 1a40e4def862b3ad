"""What a plan within the policy writes: who ends, who waits, what is counted."""

from __future__ import annotations

from typing import Any

from tasks.handlers.replan import take_back
from tasks.ledger.due import Due, DueKind
from tasks.ledger.records import Request, State
from tasks.ledger.usage_counters import Within
from tasks.limits.checks import Figures
from tasks.state_machine.plan_limits import COUNT_AGAIN_MS, LOOK_AGAIN_MS, Guard
from tasks.state_machine.planning import Plan, plan_cluster
from tests.support.records import (
    CLUSTER_DUE,
    NO_ACCOUNT_TROUBLE,
    NOW,
    check,
    cluster,
    is_written,
    operation,
    request,
    served,
    told,
    written,
)
from tests.support.requests import HOUR, bought, policy

NOTHING_BOUGHT = Figures()


def plan(*requests: Request, figures: Figures = NOTHING_BOUGHT, **limits: Any) -> Plan:
    demand = {requests[0].pool: list(requests)}
    made = plan_cluster(
        cluster(gate=None),
        NO_ACCOUNT_TROUBLE,
        demand,
        now=NOW,
        coalesce_ms=1_000,
        lease_ms=45_000,
        probe_ms=5_000,
        operation_id="op-1",
        guard=Guard(policy(**limits), figures),
    )
    check(made.changes)
    return made


def demand_of(made: Plan) -> dict[str, int | None]:
    return {request_id: order for _, _, request_id, order in made.changes.demand}


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
    assert {(meter.scope, meter.window_s, meter.producer) for meter in made.operation.meters} == {
        (scope, window_s, producer)
        for scope, producer in (
            ("account", None),
            ("cluster:ehpc-a", None),
            ("producer:nightly", "nightly"),
        )
        for window_s in (3_600, 86_400)
    }
    assert set(made.changes.within) == {
        Within("account", 3_600, 7, 100),
        Within("account", 86_400, 7, 500),
        Within("producer:nightly", 3_600, 3, 50),
    }


def test_without_limits_nothing_is_counted() -> None:
    made = plan(request())

    assert made.operation is not None
    assert made.operation.meters == ()
    assert made.changes.within == []
    assert made.operation.content() == made.operation.model_copy(update={"meters": ()}).content()


def test_what_may_not_wait_ends_as_rejected_with_rule_limit_and_present_value() -> None:
    fits, over = request("r-1", 5), request("r-2", 6)

    made = plan(fits, over, figures=bought(90), nodes_per_hour=100)

    assert made.operation is not None
    assert made.operation.request_ids == ("r-1",)
    ended = written(made.changes, over)
    assert ended.status == "rejected"
    assert ended.last_refusal is not None
    assert ended.last_refusal.kind == "guardrail"
    assert ended.last_refusal.message.startswith("limits.nodes_per_hour = 100: 95 nodes were bought")
    assert demand_of(made)["r-2"] is None
    event = told(made.changes, "request_refused")
    assert (event.fields["rule"], event.fields["limit"], event.fields["present"]) == (
        "limits.nodes_per_hour",
        100,
        95,
    )


def test_what_waits_goes_behind_all_that_can_go_on() -> None:
    over, fits = request("r-1", 30), request("r-2", 5)

    made = plan(over, fits, figures=bought(90), nodes_per_hour=100, wait=True)

    assert made.operation is not None
    assert made.operation.request_ids == ("r-2",)
    waits = written(made.changes, over)
    assert waits.wanted == 30
    assert waits.not_before == NOW + LOOK_AGAIN_MS
    assert demand_of(made)["r-1"] == waits.not_before
    assert told(made.changes, "request_over_limit").requests == ("r-1",)


def test_a_wait_ends_with_the_window_if_that_is_sooner_than_the_next_look() -> None:
    figures = bought(100, HOUR, (NOW + 7_000, 90))

    made = plan(request("r-1", 30), figures=figures, nodes_per_hour=100, wait=True)

    assert made.operation is None
    assert written(made.changes, request("r-1", 30)).not_before == NOW + 7_000
    assert made.changes.due[CLUSTER_DUE] == NOW


def test_nodes_of_a_cluster_are_not_counted_every_minute_for_whom_they_are_too_many() -> None:
    made = plan(request("r-1", 30), figures=Figures(present=80), nodes_per_cluster=100, wait=True)

    assert written(made.changes, request("r-1", 30)).not_before == NOW + COUNT_AGAIN_MS


def test_a_wait_is_told_once_for_each_rule() -> None:
    first = plan(request("r-1", 30), figures=bought(90), nodes_per_hour=100, wait=True)
    waits = written(first.changes, request("r-1", 30)).model_copy(update={"not_before": 0})

    again = plan(waits, figures=bought(91), nodes_per_hour=100, wait=True)
    other = plan(waits, figures=bought(0, present=80), nodes_per_cluster=100, wait=True)

    assert [event.name for event in again.changes.events] == []
    assert [event.name for event in other.changes.events] == ["request_over_limit"]


def test_a_large_request_gets_its_part_and_the_rest_waits() -> None:
    large = request("r-1", 250)

    made = plan(large, figures=bought(70), nodes_per_hour=100, wait=True)

    assert made.operation is not None
    assert made.operation.node_count == 30
    left = written(made.changes, large)
    assert (left.wanted, left.not_before) == (220, NOW + LOOK_AGAIN_MS)


# An operation that waited too long to be sent


def test_an_operation_that_is_taken_back_gives_its_nodes_back_to_demand_and_opens_the_gate() -> None:
    planned = operation({"r-1": 2, "r-2": 3}, State.PLANNED)
    all_in = served(planned, "r-1", 2)
    part = served(planned, "r-2", 3, wanted=4)
    gone = served(planned, "r-3", 1, cancelled=True)

    changes = take_back(planned, {"r-1": all_in, "r-2": part}, cluster(), NOW)

    assert written(changes, planned).state is State.ABANDONED
    assert written(changes, cluster()).gate is None
    assert (written(changes, all_in).wanted, written(changes, all_in).shares) == (2, ())
    assert written(changes, part).wanted == 7
    assert {name: order for _, _, name, order in changes.demand} == {
        "r-1": all_in.accepted_at,
        "r-2": part.accepted_at,
    }
    assert changes.due[Due(DueKind.CLUSTER, "ehpc-a")] == NOW
    assert changes.sends
    assert not is_written(changes, gone)


def test_who_wants_its_nodes_no_more_ends_when_its_operation_is_taken_back() -> None:
    planned = operation({"r-1": 2, "r-2": 3}, State.PLANNED)
    cancelled = served(planned, "r-1", 2, cancelled=True)
    late = served(planned, "r-2", 3, deadline_at=NOW)

    changes = take_back(planned, {"r-1": cancelled, "r-2": late}, cluster(), NOW)

    assert written(changes, cancelled).status == "cancelled"
    assert written(changes, late).status == "timed_out"
    assert changes.demand == []
