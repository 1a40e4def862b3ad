"""What the policy says against a request that comes in."""

from typing import Any

import pytest

from config.policy.model import Policy
from tasks.limits.applicable import counters_of, restricts
from tasks.limits.checks import CurrentUsage, check, fatal, permanent_violations, room_at
from tasks.limits.usage import Usage, UsageCounter
from tests.support.requests import DAY, FLIGHT, HOUR, NOW, bought, policy, request_for

NOTHING_BOUGHT = CurrentUsage()


def rules(of: Policy, usage: CurrentUsage = NOTHING_BOUGHT, **request: Any) -> list[str]:
    return [violation.rule for violation in check(of, request_for(**request), usage)]


def test_without_a_policy_everything_may_be_bought() -> None:
    assert not restricts(Policy())
    assert check(Policy(), request_for(10_000), bought(10**9, present=10**9)) == []
    assert counters_of(Policy(), "ehpc-a", ["somebody"]) == []


@pytest.mark.parametrize(
    ("allow", "broken"),
    [
        ({"clusters": ["ehpc-*"], "zones": ["jn1a"], "roles": ["compute"]}, []),
        ({"clusters": ["hpc-*", "ehpc-b"]}, ["allow.clusters"]),
        ({"zones": ["jn1b", "gd?"]}, ["allow.zones"]),
        ({"roles": ["login"]}, ["allow.roles"]),
        ({"clusters": ["EHPC-*"], "zones": ["JN1A"]}, ["allow.clusters", "allow.zones"]),
    ],
)
def test_clusters_zones_and_roles_are_allowed_by_globs(allow: dict[str, Any], broken: list[str]) -> None:
    assert [
        violation.rule for violation in permanent_violations(policy(allow=allow), request_for())
    ] == broken


def test_a_forbidden_value_is_reported_with_the_allowed_ones() -> None:
    (violation,) = permanent_violations(policy(allow={"zones": ["jn1b", "gd*"]}), request_for())

    assert violation.text == "allow.zones = jn1b, gd*: zone jn1a is not among them"
    assert not violation.waits


def test_every_broken_rule_is_reported_at_once() -> None:
    of = policy(allow={"roles": ["login"]}, nodes_per_request=5, nodes_per_cluster=8, nodes_per_hour=9)

    assert rules(of) == [
        "allow.roles",
        "limits.nodes_per_request",
        "limits.nodes_per_cluster",
        "limits.nodes_per_hour",
    ]


def test_a_request_of_exactly_the_limit_is_within_it() -> None:
    names = ("nodes_per_request", "nodes_in_flight_per_cluster", "nodes_per_cluster", "nodes_per_hour")
    limits: dict[str, Any] = dict.fromkeys(names, 10)
    of = policy(**limits, nodes_per_day=10)

    assert rules(of, CurrentUsage(present=0)) == []
    assert len(rules(of, CurrentUsage(present=0), nodes=11)) == 5


def test_limits_of_account_cluster_and_producer_hold_together() -> None:
    of = policy(
        nodes_per_request=100,
        clusters={"ehpc-a": {"nodes_per_request": 20}, "ehpc-b": {"nodes_per_request": 1}},
        producers={"nightly": {"nodes_per_request": 8}, "other": {"nodes_per_request": 1}},
    )

    assert rules(of, requested_by="nightly") == ['limits.producers."nightly".nodes_per_request']
    assert rules(of) == []
    assert rules(of, nodes=21) == ['limits.clusters."ehpc-a".nodes_per_request']
    assert rules(of, nodes=1, cluster_id="ehpc-b") == []


def test_a_rolling_limit_counts_what_was_bought_before() -> None:
    of = policy(nodes_per_hour=100)

    assert rules(of, bought(90)) == []
    (violation,) = check(of, request_for(), bought(91))
    assert (violation.limit, violation.present, violation.requested) == (100, 91, 10)
    assert violation.text == (
        "limits.nodes_per_hour = 100: 91 nodes were bought in the last hour or are on their way, "
        "10 more would be 101"
    )


def test_each_rolling_limit_has_a_meter_of_its_own() -> None:
    of = policy(
        nodes_per_day=100,
        clusters={"ehpc-a": {"nodes_per_hour": 100}},
        producers={"nightly": {"nodes_per_day": 100}},
    )
    full = Usage(100)

    def broken(counter: UsageCounter) -> list[str]:
        return rules(of, CurrentUsage({counter: full}), requested_by="nightly")

    assert broken(DAY) == ["limits.nodes_per_day"]
    assert broken(HOUR) == []
    assert broken(UsageCounter("cluster:ehpc-a", 3_600)) == ['limits.clusters."ehpc-a".nodes_per_hour']
    assert broken(UsageCounter("cluster:ehpc-b", 3_600)) == []
    assert broken(UsageCounter("producer:nightly", 86_400, "nightly")) == [
        'limits.producers."nightly".nodes_per_day'
    ]


def test_waiting_is_reported_with_the_time_when_there_is_room() -> None:
    of = policy(nodes_per_hour=100, wait=True)
    usage = bought(100, HOUR, (NOW + 60_000, 4), (NOW + 90_000, 6), (NOW + 95_000, 90))

    (violation,) = check(of, request_for(), usage)

    assert violation.waits
    assert violation.until == NOW + 90_000
    assert violation.text.endswith("; there is room from 2023-11-14T22:14:50.000Z on")
    assert fatal([violation]) == []


def test_no_time_is_reported_where_none_is_known() -> None:
    # The others are of operations that have no job yet.
    assert room_at(Usage(100, ((NOW, 4),)), 90) is None
    assert room_at(Usage(100, ((NOW, 4), (NOW + 1, 6))), 90) == NOW + 1


def test_more_than_a_cluster_can_hold_is_rejected_even_where_limits_wait() -> None:
    of = policy(nodes_per_cluster=9, wait=True)

    (violation,) = fatal(check(of, request_for(), NOTHING_BOUGHT))

    assert violation.text == "limits.nodes_per_cluster = 9: the request alone is for 10 nodes"


def test_a_cluster_has_what_is_there_and_what_is_on_its_way() -> None:
    of = policy(nodes_per_cluster=100)

    assert rules(of, CurrentUsage({FLIGHT: Usage(30)}, present=60)) == []
    (violation,) = check(of, request_for(), CurrentUsage({FLIGHT: Usage(30)}, present=61))
    assert violation.present == 91
    # Nobody has counted: the plan will.
    assert rules(of, CurrentUsage({FLIGHT: Usage(99)}, present=None)) == []


def test_nodes_in_flight_are_limited_by_what_is_not_settled() -> None:
    of = policy(nodes_in_flight_per_cluster=100)

    assert rules(of, bought(90, FLIGHT)) == []
    (violation,) = check(of, request_for(), bought(91, FLIGHT))
    assert violation.text == (
        "limits.nodes_in_flight_per_cluster = 100: 91 nodes are requested and not settled yet, "
        "10 more would be 101"
    )


def test_a_limit_in_flight_that_waits_keeps_no_request_from_its_turn() -> None:
    of = policy(nodes_in_flight_per_cluster=100, wait=True)

    assert rules(of, bought(91, FLIGHT)) == []
    assert rules(of, nodes=101) == []


def test_over_a_rolling_limit_a_request_without_named_nodes_may_wait() -> None:
    of = policy(nodes_per_hour=6, wait=True)

    assert fatal(check(of, request_for(), NOTHING_BOUGHT)) == []
    (violation,) = fatal(check(of, request_for(node_name="web"), NOTHING_BOUGHT))
    assert violation.text == "limits.nodes_per_hour = 6: 10 named nodes need one call"


def test_producers_are_counted_if_the_policy_knows_them() -> None:
    of = policy(producers={"nightly": {"nodes_per_day": 800}})

    scopes = {counter.scope for counter in counters_of(of, "ehpc-a", ["nightly", "somebody", None])}

    assert scopes == {"account", "cluster:ehpc-a", "producer:nightly"}
