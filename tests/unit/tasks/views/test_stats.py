"""What `stats` says of a pool."""

from tasks.ledger.durations import Duration
from tasks.ledger.pools import Pool
from tasks.views.stats import pool_stats
from tests.support.records import NOW, request

POOL = Pool.of(request().valid_spec)


def test_durations_are_those_of_successes_and_failures_are_counted() -> None:
    took = [Duration(1000 * place, 2, True, NOW + place) for place in range(1, 11)]
    failed = [Duration(90_000, 1, False, NOW + 20)]

    found = pool_stats(POOL, [*took, *failed])

    assert (found["p50_s"], found["p90_s"]) == (5.0, 9.0)
    assert (found["operations"], found["failed"], found["failure_rate"]) == (11, 1, 0.0909)
    assert found["nodes_added"] == 21
    assert (found["cluster_id"], found["zone"], found["node_role"]) == ("ehpc-a", "jn1a", "compute")


def test_a_pool_without_a_success_has_no_duration() -> None:
    found = pool_stats(POOL, [Duration(5, 0, False, NOW)])

    assert (found["p50_s"], found["p90_s"], found["failure_rate"]) == (None, None, 1.0)


def test_a_pool_whose_operations_are_forgotten_has_no_pool_stats() -> None:
    found = pool_stats(POOL, [])

    assert found["failure_rate"] is found["since"] is None
