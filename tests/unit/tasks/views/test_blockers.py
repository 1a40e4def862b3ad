"""Pauses, breakers and a refused account are shown in one way."""

from __future__ import annotations

from tasks.ledger.breakers import Breaker
from tasks.ledger.pauses import EVERYTHING, Pause, Pauses
from tasks.ledger.records import Account, Refusal
from tasks.views.blockers import stops_of
from tasks.views.status import standing_of
from tests.support.records import NOW, cluster, operation, request, served

BROKEN = Breaker(
    zone="jn1a", node_role="compute", failures=5, said="job j-1 failed", opened=1, since=NOW, until=NOW + 1000
)
OF_ALL = Pause(scope=EVERYTHING, paused=True, by="ann", why="audit", since=NOW)
OVER = Pause(scope="ehpc-b", paused=True, by="bob", since=NOW, until=NOW)
REFUSED = Account(
    refused_since=NOW, not_before=NOW + 9, refusal=Refusal(kind="account_refused", message="no", code=1200)
)


def test_all_that_is_in_force_is_shown_that_of_everything_first() -> None:
    at = cluster(breakers={"p": BROKEN, "q": BROKEN.model_copy(update={"opened": 0})})

    found = stops_of([OVER, OF_ALL], [at], REFUSED, NOW)

    assert [(stop.kind, stop.scope, stop.by) for stop in found] == [
        ("pause", "everything", "ann"),
        ("account", "everything", "the provider"),
        ("breaker", "ehpc-a", "the breaker"),
    ]
    assert found[0].why == "audit"
    assert found[0].until is None
    assert "job j-1 failed" in found[2].text


def test_nothing_is_shown_where_nothing_is_stopped() -> None:
    assert stops_of([OVER], [cluster()], Account(), NOW) == []


def test_a_request_says_that_it_waits_for_a_pause_by_whom_and_why() -> None:
    pauses = Pauses(OF_ALL, Pause(scope="ehpc-a"))

    standing = standing_of(request(), cluster(), Account(), {}, NOW, pauses)

    assert standing.state == "waiting"
    assert standing.why is not None
    assert "paused by ann" in standing.why
    assert "audit" in standing.why


def test_a_pause_does_not_hide_what_is_running() -> None:
    running = operation()
    pauses = Pauses(OF_ALL, Pause(scope="ehpc-a"))

    standing = standing_of(served(running), cluster(), Account(), {"op-1": running}, NOW, pauses)

    assert standing.state == "in_progress"
    assert standing.why == "job j-1 is running"


def test_a_request_of_a_broken_pool_says_when_it_is_tried_again() -> None:
    one = request()
    at = cluster(gate=None, breakers={one.pool: BROKEN})

    why = standing_of(one, at, Account(), {}, NOW).why

    assert why is not None
    assert why.startswith("breaker: 5 operations in a row failed")
    assert "2023-11-14T22:13:21.000Z" in why
