"""What of the next operation fits into the limits."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from config.policy.model import Policy
from tasks.limits.checks import CurrentUsage
from tasks.limits.fitting import Fit, Part, fit, max_nodes_per_operation
from tests.support.requests import bought, policy, request_for

NOTHING_BOUGHT = CurrentUsage()


def parts(*nodes: int, **more: Any) -> list[Part]:
    return [
        Part(request_for(many, f"r-{place}", **more), min(many, 99), many) for place, many in enumerate(nodes)
    ]


def fitted(of: Policy, usage: CurrentUsage, *nodes: int, **more: Any) -> Fit:
    return fit(of, parts(*nodes, **more), usage)


def test_all_that_fits_is_taken_as_it_is() -> None:
    found = fitted(policy(nodes_per_hour=100), bought(40), 10, 20, 30)

    assert found == Fit({"r-0": 10, "r-1": 20, "r-2": 30})


def test_requests_that_would_fit_alone_do_not_pass_together() -> None:
    found = fitted(policy(nodes_per_hour=100), bought(70), 20, 20, 10)

    assert found.fits == {"r-0": 20, "r-2": 10}
    assert list(found.rejected) == ["r-1"]


def test_what_does_not_fit_waits_and_others_are_served() -> None:
    found = fitted(policy(nodes_per_hour=100, wait=True), bought(70), 40, 20)

    assert found.fits == {"r-1": 20}
    assert found.waiting["r-0"].present == 70
    assert found.rejected == {}


def test_the_present_value_counts_what_the_same_operation_takes() -> None:
    found = fitted(policy(nodes_per_cluster=100, wait=True), CurrentUsage(present=70), 20, 20)

    assert found.fits == {"r-0": 20}
    assert found.waiting["r-1"].present == 90


def test_a_large_request_gets_what_fits_and_waits_for_the_rest() -> None:
    found = fitted(policy(nodes_per_hour=100, wait=True), bought(70), 250)

    assert found.fits == {"r-0": 30}
    assert list(found.waiting) == ["r-0"]


def test_a_request_larger_than_the_limit_is_bought_piece_by_piece() -> None:
    found = fitted(policy(nodes_per_hour=30, wait=True), NOTHING_BOUGHT, 50)

    assert found.fits == {"r-0": 30}


def test_a_small_request_is_not_split() -> None:
    found = fitted(policy(nodes_per_hour=100, wait=True), bought(90), 11)

    assert found.fits == {}
    assert list(found.waiting) == ["r-0"]


def test_named_nodes_are_never_split() -> None:
    found = fitted(policy(nodes_per_hour=100, wait=True), bought(90), 40, node_name="web")

    assert found.fits == {}


def test_no_request_is_begun_that_a_limit_would_not_let_end() -> None:
    found = fitted(policy(nodes_per_hour=300), bought(100), 250)

    assert found.fits == {}
    assert found.rejected["r-0"][0].requested == 250


def test_a_limit_without_waiting_wins_over_one_that_waits() -> None:
    of = policy(nodes_per_hour=10, wait=True, clusters={"ehpc-a": {"nodes_per_cluster": 15}})

    found = fitted(of, bought(5, present=10), 6)

    assert list(found.rejected) == ["r-0"]
    assert found.waiting == {}


def test_what_the_policy_has_come_to_forbid_ends_however_little_it_is() -> None:
    of = policy(allow={"zones": ["jn1b"]}, nodes_per_request=50)

    assert list(fitted(of, NOTHING_BOUGHT, 1, 2).rejected) == ["r-0", "r-1"]


def test_an_operation_has_no_more_nodes_than_may_be_in_flight() -> None:
    of = policy(nodes_in_flight_per_cluster=30)

    assert max_nodes_per_operation(of, "ehpc-a") == 30
    assert fitted(of, NOTHING_BOUGHT, 20, 20).fits == {"r-0": 20}
    # It was taken in before the limit was.
    assert fitted(of, NOTHING_BOUGHT, 50).fits == {"r-0": 30}


NUMBERS = st.integers(1, 150)
LIMIT = st.none() | st.integers(1, 200)


@given(
    nodes=st.lists(NUMBERS, min_size=1, max_size=12),
    used=st.integers(0, 200),
    present=st.integers(0, 200),
    per_hour=LIMIT,
    per_cluster=LIMIT,
    in_flight=LIMIT,
    wait=st.booleans(),
)
def test_no_limit_is_ever_exceeded_and_no_request_forgotten(
    nodes: list[int],
    used: int,
    present: int,
    per_hour: int | None,
    per_cluster: int | None,
    in_flight: int | None,
    wait: bool,
) -> None:
    of = policy(
        nodes_per_hour=per_hour,
        nodes_per_cluster=per_cluster,
        nodes_in_flight_per_cluster=in_flight,
        wait=wait,
    )
    given = parts(*nodes)

    found = fit(of, given, bought(used, present=present))

    assigned = sum(found.fits.values())
    if assigned:
        assert per_hour is None or used + assigned <= per_hour
        assert per_cluster is None or present + assigned <= per_cluster
        assert in_flight is None or assigned <= in_flight
    for part in given:
        assert 0 <= found.fits.get(part.name, 0) <= part.nodes
        assert part.name not in found.rejected or part.name not in found.fits
    if not wait:
        assert found.waiting == {}
    # Something becomes of the first, so that a plan without an operation is never made twice alike.
    assert given[0].name in {*found.fits, *found.rejected, *found.waiting}
