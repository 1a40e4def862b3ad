"""When a pool's breaker opens, how long for, and what its probe takes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ledger.change_entries import Index
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.record_values import Breaker
from tasks.ledger.records import Cluster
from tasks.state_machine import circuit_breaker
from tests.support.records import NOW, cluster, listed, operation, recorded, request, served

OPERATION = operation()
REQUESTS = [served(OPERATION)]
POOL = REQUESTS[0].pool


def after(outcomes: str, at: Cluster | None = None) -> tuple[Cluster, ChangeSet]:
    """The cluster after failures (f) and successes (s), a second apart, and what the last one has changed."""
    at, changes = at or cluster(), ChangeSet()
    for number, outcome in enumerate(outcomes):
        changes = ChangeSet()
        if outcome == "f":
            at = circuit_breaker.failed(
                changes, at, OPERATION, REQUESTS, "job j-1 failed", NOW + number * 1000
            )
        else:
            at = circuit_breaker.succeeded(changes, at, OPERATION, REQUESTS)
    return at, changes


def test_it_opens_with_the_fifth_failure_in_a_row_and_not_before() -> None:
    at, changes = after("ffff")
    assert not circuit_breaker.is_open(at)
    assert changes.events == []

    at, changes = after("fffff")
    broken = at.breakers[POOL]
    assert (broken.failures, broken.opened, broken.since) == (5, 1, NOW + 4_000)
    assert broken.until == NOW + 4_000 + circuit_breaker.FIRST_WAIT_MS
    event = recorded(changes, "breaker_opened")
    assert (event.level, event.in_journal, event.requests) == ("error", True, ("r-1",))
    assert listed(changes, Index.BROKEN) == {"ehpc-a": NOW + 4_000}
    assert "job j-1 failed" in circuit_breaker.describe(broken)


def test_a_success_forgets_the_failures_and_closes_it() -> None:
    at, changes = after("ffffs")
    assert at.breakers == {}
    assert changes.events == []

    at, changes = after("fffffs")
    assert at.breakers == {}
    assert recorded(changes, "breaker_closed").in_journal
    assert listed(changes, Index.BROKEN) == {"ehpc-a": None}


def test_the_cluster_stays_marked_while_another_pool_of_it_is_broken() -> None:
    other = Breaker(zone="jn1a", node_role="login", failures=5, opened=1, until=NOW)
    at, changes = after("fffffs", cluster(breakers={"other": other}))

    assert at.breakers == {"other": other}
    assert listed(changes, Index.BROKEN) == {}


@given(st.integers(1, 60))
def test_each_probe_that_fails_doubles_the_pause_up_to_an_hour(failures: int) -> None:
    at, _ = after("ffff" + "f" * failures)
    broken = at.breakers[POOL]

    wait_ms = broken.until - broken.failed_at
    assert wait_ms == min(circuit_breaker.MAX_WAIT_MS, circuit_breaker.FIRST_WAIT_MS * 2 ** (failures - 1))
    assert broken.since == NOW + 4_000


def test_remembered_pools_are_bounded_and_open_ones_stay() -> None:
    at, _ = after("fffff")
    for number in range(circuit_breaker.MAX_POOLS * 2):
        one = served(OPERATION, resource_conf={"cpu": number})
        at = circuit_breaker.failed(ChangeSet(), at, OPERATION, [one], "no", NOW + 10_000 + number)

    assert len(at.breakers) == circuit_breaker.MAX_POOLS
    assert at.breakers[POOL].is_open


def test_it_survives_being_written_down() -> None:
    at, _ = after("fffff")

    assert Cluster.model_validate_json(at.content()).breakers == at.breakers


@pytest.mark.parametrize(
    ("requests", "takes"),
    [
        ([{"nodes": 64}], ("r-0", 1)),
        ([{"nodes": 64, "on_shortage": "fail"}], ("r-0", 64)),
        ([{"nodes": 250, "on_shortage": "fail"}], ("r-0", 99)),
        ([{"nodes": 8, "node_name": "n"}, {"nodes": 3, "node_name": "m"}], ("r-1", 3)),
        ([{"nodes": 8, "on_shortage": "fail"}, {"nodes": 200}], ("r-1", 1)),
        ([{"nodes": 1}, {"nodes": 1}], ("r-0", 1)),
    ],
)
def test_a_probe_is_one_node_or_the_smallest_unsplittable_request(
    requests: list[dict[str, Any]], takes: tuple[str, int]
) -> None:
    ready = [
        request(f"r-{place}", accepted_at=NOW + place, **fields) for place, fields in enumerate(requests)
    ]

    ((taken, nodes),) = circuit_breaker.probe_of(ready)

    assert (taken.request_id, nodes) == takes
