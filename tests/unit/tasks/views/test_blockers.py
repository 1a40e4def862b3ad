"""Pauses, open circuit breakers and a blocked account are shown in one way."""

from tasks.ledger.pauses import EVERYTHING, Pause, Pauses
from tasks.ledger.record_values import Breaker, Reason
from tasks.ledger.records import Account
from tasks.views.blockers import blockers_of
from tasks.views.status import Surroundings, status_of
from tests.support.records import NOW, cluster, operation, request, served

BROKEN = Breaker(
    zone="jn1a",
    node_role="compute",
    failures=5,
    last_error="job j-1 failed",
    opened=1,
    since=NOW,
    until=NOW + 1000,
)
OF_ALL = Pause(scope=EVERYTHING, paused=True, by="ann", reason="audit", since=NOW)
ENDED = Pause(scope="ehpc-b", paused=True, by="bob", since=NOW, until=NOW)
BLOCKED = Account(
    blocked_since=NOW, not_before=NOW + 9, reason=Reason(kind="account_blocked", message="no", code=1200)
)


def test_all_that_is_in_force_is_shown_with_everything_first() -> None:
    at = cluster(breakers={"p": BROKEN, "q": BROKEN.model_copy(update={"opened": 0})})

    found = blockers_of([ENDED, OF_ALL], [at], BLOCKED, NOW)

    assert [(blocker.kind, blocker.scope, blocker.by) for blocker in found] == [
        ("pause", "everything", "ann"),
        ("account", "everything", "the provider"),
        ("breaker", "ehpc-a", "the circuit breaker"),
    ]
    assert found[0].reason == "audit"
    assert found[0].until is None
    assert "job j-1 failed" in found[2].text


def test_nothing_is_shown_where_nothing_blocks() -> None:
    assert blockers_of([ENDED], [cluster()], Account(), NOW) == []


def test_a_request_that_waits_for_a_pause_says_by_whom_and_why() -> None:
    pauses = Pauses(OF_ALL, Pause(scope="ehpc-a"))

    status = status_of(request(), Surroundings(cluster(), Account(), pauses, {}), NOW)

    assert status.state == "waiting"
    assert status.reason is not None
    assert status.reason.kind == "pause"
    assert "paused by ann" in status.reason.message
    assert "audit" in status.reason.message


def test_a_pause_does_not_hide_what_is_running() -> None:
    running = operation()
    pauses = Pauses(OF_ALL, Pause(scope="ehpc-a"))

    status = status_of(served(running), Surroundings(cluster(), Account(), pauses, {"op-1": running}), NOW)

    assert status.state == "in_progress"
    assert status.reason is not None
    assert status.reason.message.startswith("job j-1 is running since ")


def test_a_request_of_a_broken_pool_says_when_it_is_retried() -> None:
    one = request()
    at = cluster(locked_by=None, breakers={one.pool: BROKEN})

    reason = status_of(one, Surroundings(at, Account(), Pauses.none("ehpc-a"), {}), NOW).reason

    assert reason is not None
    assert reason.kind == "breaker"
    assert "5 operations in a row failed" in reason.message
    assert reason.until == "2023-11-14T22:13:21.000Z"
    assert reason.remedy == "scaleout resume --cluster ehpc-a"
