"""What making, lifting and looking at a pause writes."""

import pytest

from tasks.ledger.change_entries import Index
from tasks.ledger.change_set import DueRule
from tasks.ledger.due import Due, DueKind
from tasks.ledger.pauses import EVERYTHING, Pause, PauseEvent, Pauses
from tasks.ledger.record_values import Breaker
from tasks.ledger.snapshots import ClusterSnapshot
from tasks.state_machine.pauses import BY_TIME, MAX_UNLOGGED, apply_due, describe, park, pause, resume
from tasks.state_machine.planning import PlanRules, plan_cluster
from tests.support.records import (
    CLUSTER_DUE,
    NO_ACCOUNT_TROUBLE,
    NO_ARRIVALS,
    NOW,
    check,
    cluster,
    due,
    listed,
    parked,
    recorded,
    request,
    unparked,
    written,
)

OF_ALL = Pause(scope=EVERYTHING)
OF_ONE = Pause(scope="ehpc-a", version=4)
PAUSE_DUE = Due(DueKind.PAUSE, "ehpc-a")
UNTIL = NOW + 60_000
IN_FORCE = OF_ONE.model_copy(
    update={"paused": True, "by": "ann", "reason": "moving racks", "since": NOW, "until": UNTIL}
)
BROKEN = Breaker(
    zone="jn1a", node_role="compute", failures=5, last_error="no", opened=1, since=NOW, until=UNTIL
)


def test_a_pause_records_who_and_why_and_is_logged_by_a_worker() -> None:
    changes = pause(OF_ONE, by="ann", reason="moving racks", until=UNTIL, now=NOW)

    made = written(changes, OF_ONE)
    assert made.in_force(NOW)
    assert (made.by, made.reason, made.since, made.until) == ("ann", "moving racks", NOW, UNTIL)
    assert made.unlogged == (
        PauseEvent(event="paused", at=NOW, by="ann", reason="moving racks", until=UNTIL),
    )
    assert due(changes) == {PAUSE_DUE: NOW}
    assert listed(changes, Index.PAUSED) == {"ehpc-a": NOW}
    event = recorded(changes, "paused")
    assert (event.in_journal, event.fields["by"], event.fields["cluster_id"]) == (True, "ann", "ehpc-a")
    assert not changes.sends


def test_a_pause_of_everything_names_no_cluster() -> None:
    changes = pause(OF_ALL, by="ann", reason=None, until=None, now=NOW)

    assert recorded(changes, "paused").fields["cluster_id"] is None
    assert describe(written(changes, OF_ALL)) == (
        "pause: everything is paused by ann since 2023-11-14T22:13:20.000Z, until it is resumed"
    )


def test_a_pause_is_in_force_up_to_its_end() -> None:
    assert IN_FORCE.in_force(UNTIL - 1)
    assert not IN_FORCE.in_force(UNTIL)
    assert IN_FORCE.model_copy(update={"until": None}).in_force(UNTIL * 2)
    assert not OF_ONE.in_force(NOW)


def test_resuming_returns_parked_entries_in_the_same_step() -> None:
    changes = resume(IN_FORCE, None, by="bob", now=NOW + 5)

    assert changes is not None
    after = written(changes, IN_FORCE)
    assert not after.in_force(NOW + 5)
    assert unparked(changes) == {"ehpc-a": NOW + 5}
    assert listed(changes, Index.PAUSED) == {"ehpc-a": None}
    assert due(changes) == {PAUSE_DUE: NOW + 5}
    assert recorded(changes, "resumed").fields["by"] == "bob"


def test_resuming_a_cluster_closes_its_breakers_also_if_no_pause_is_there() -> None:
    at = cluster(locked_by=None, breakers={"p": BROKEN, "q": BROKEN.model_copy(update={"opened": 0})})

    changes = resume(OF_ONE, at, by="bob", now=NOW)

    assert changes is not None
    assert written(changes, at).breakers == {}
    assert due(changes, DueRule.NO_LATER) == {CLUSTER_DUE: NOW}
    assert listed(changes, Index.BROKEN) == {"ehpc-a": None}
    assert recorded(changes, "breaker_closed").fields["by"] == "bob"


def test_there_is_nothing_to_resume_where_nothing_is_paused() -> None:
    closed = cluster(breakers={"p": BROKEN.model_copy(update={"opened": 0})})

    assert resume(OF_ONE, None, by="bob", now=NOW) is None
    assert resume(OF_ONE, closed, by="bob", now=NOW) is None


def test_a_worker_logs_what_operators_did_and_returns_at_the_end() -> None:
    acts = tuple(PauseEvent(event=name, at=NOW, by="ann") for name in ("paused", "resumed", "paused"))
    record = IN_FORCE.model_copy(update={"unlogged": acts})

    changes = apply_due(record, NOW + 1)

    assert [event.name for event in changes.events] == ["paused", "resumed", "paused"]
    assert not any(event.in_journal for event in changes.events)
    assert written(changes, record).unlogged == ()
    assert written(changes, record).in_force(NOW + 1)
    assert due(changes) == {PAUSE_DUE: UNTIL}
    assert unparked(changes) == {}


def test_a_worker_lifts_a_pause_whose_time_is_over() -> None:
    changes = apply_due(IN_FORCE, UNTIL)

    after = written(changes, IN_FORCE)
    assert not after.paused
    assert after.unlogged == ()
    assert unparked(changes) == {"ehpc-a": UNTIL}
    assert due(changes) == {PAUSE_DUE: None}
    assert recorded(changes, "resumed").fields["by"] == BY_TIME


def test_what_no_worker_has_logged_stays_bounded() -> None:
    record = OF_ONE
    for number in range(MAX_UNLOGGED + 5):
        record = written(pause(record, by=f"n{number}", reason=None, until=None, now=NOW), record)

    assert len(record.unlogged) == MAX_UNLOGGED
    assert record.unlogged[-1].by == f"n{MAX_UNLOGGED + 4}"


def test_what_is_parked_checks_both_pauses_and_leaves_the_due_set() -> None:
    pauses = Pauses(OF_ALL, IN_FORCE)

    changes = park(CLUSTER_DUE, pauses, IN_FORCE, NOW)

    assert changes.expected == [OF_ALL, IN_FORCE]
    assert parked(changes) == [("ehpc-a", CLUSTER_DUE)]
    assert due(changes) == {CLUSTER_DUE: None}


@pytest.mark.parametrize("pauses", [Pauses(OF_ALL, IN_FORCE), Pauses(IN_FORCE, OF_ONE)])
def test_nothing_is_planned_while_the_cluster_or_everything_is_paused(pauses: Pauses) -> None:
    one = request(unassigned_nodes=2)
    snapshot = ClusterSnapshot(
        cluster(locked_by=None), NO_ACCOUNT_TROUBLE, pauses, {one.pool: [one]}, NO_ARRIVALS
    )
    made = plan_cluster(snapshot, PlanRules(0, 1, 1), now=NOW, operation_id="op-1")

    check(made.changes)
    assert made.operation is None
    assert made.changes.writes == []
    assert due(made.changes) == {CLUSTER_DUE: None}
    assert [due for _, due in parked(made.changes)] == [CLUSTER_DUE]


def test_a_plan_rests_on_there_being_no_pause() -> None:
    one = request(unassigned_nodes=2)
    pauses = Pauses(OF_ALL, OF_ONE)
    snapshot = ClusterSnapshot(
        cluster(locked_by=None), NO_ACCOUNT_TROUBLE, pauses, {one.pool: [one]}, NO_ARRIVALS
    )
    made = plan_cluster(snapshot, PlanRules(0, 1, 1), now=NOW, operation_id="op-1")

    assert made.operation is not None
    assert made.changes.expected == [OF_ALL, OF_ONE]
