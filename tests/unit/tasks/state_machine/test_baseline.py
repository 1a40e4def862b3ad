"""How far back the jobs are listed that were there before a call."""

import pytest

from tasks.ledger.record_values import MAX_CLOCK_STEP_MS
from tasks.state_machine.submission import Baseline, baseline_since
from tests.support.records import NOW, cluster, operation

MARGIN = 70_000


def test_it_reaches_back_as_far_as_a_clock_may_step() -> None:
    """A job that is made while the provider's clock is behind is listed as an earlier one."""
    assert baseline_since(cluster(), NOW, MARGIN) <= NOW - 3_600_000


@pytest.mark.parametrize(("doubt_ago", "counts"), [(100_000, True), (100 * MARGIN, False)])
def test_it_reaches_back_to_a_doubt_that_is_recent(doubt_ago: int, counts: bool) -> None:
    since = baseline_since(cluster(doubt_since=NOW - doubt_ago), NOW, MARGIN)

    assert since == NOW - MARGIN - MAX_CLOCK_STEP_MS - (doubt_ago if counts else 0)


@pytest.mark.parametrize(("set_back_ms", "reaches"), [(0, True), (4_000, True), (90_000_000, False)])
def test_one_of_a_clock_that_was_ahead_does_not_reach_back(set_back_ms: int, reaches: bool) -> None:
    baseline = Baseline((), baseline_since(cluster(), NOW, MARGIN))

    assert baseline.reaches_back(NOW - set_back_ms, MARGIN) is reaches


def test_a_listing_always_reaches_back_before_the_call() -> None:
    """Whatever an earlier version has written: nothing of the call would be seen."""
    ahead = operation(sent_at=NOW, listed_since=NOW + 90_000_000)
    usual = operation(sent_at=NOW, listed_since=NOW - 2 * MAX_CLOCK_STEP_MS)

    assert ahead.shown_since == NOW - MAX_CLOCK_STEP_MS
    assert usual.shown_since == usual.listed_since
