"""The provider counts arrivals, refused ones too, in a window that slides."""

import pytest

from workers.simulator.quota import CallQuota


@pytest.fixture
def quota() -> CallQuota:
    return CallQuota(calls=3, period_s=100)


def test_so_many_calls_are_within_the_quota_and_the_next_is_not(quota: CallQuota) -> None:
    assert [quota.count(now) for now in (0, 1, 2, 3)] == [True, True, True, False]


@pytest.mark.parametrize(("now", "within"), [(99.9, False), (100.0, True)])
def test_a_call_counts_for_exactly_one_period(quota: CallQuota, now: float, within: bool) -> None:
    for earlier in (0, 50, 60):
        quota.count(earlier)

    assert quota.count(now) is within


def test_a_refused_call_counts_like_any_other(quota: CallQuota) -> None:
    for earlier in (0, 50, 60, 99):
        quota.count(earlier)

    # The first has left, and the refused one has taken its place.
    assert not quota.count(101)


def test_the_window_slides_and_is_not_emptied_at_once(quota: CallQuota) -> None:
    for now in (0, 50, 60):
        quota.count(now)

    assert quota.count(101)
    assert not quota.count(149)


def test_a_caller_over_quota_is_refused_again_and_again(quota: CallQuota) -> None:
    within = [quota.count(now) for now in range(0, 1000, 10)]

    assert within[:4] == [True, True, True, False]
    assert not any(within[4:])


def test_who_stays_away_for_a_period_has_the_whole_quota_again(quota: CallQuota) -> None:
    for now in range(10):
        quota.count(now)

    assert [quota.count(now) for now in (110, 111, 112, 113)] == [True, True, True, False]


def test_the_fullest_window_and_the_refusals_are_remembered(quota: CallQuota) -> None:
    for now in (0, 1, 2, 3, 4, 500):
        quota.count(now)

    assert (quota.most_in_a_window, quota.refused) == (5, 2)


def test_a_quota_of_none_refuses_the_very_first_call() -> None:
    assert not CallQuota(calls=0, period_s=100).count(0)
