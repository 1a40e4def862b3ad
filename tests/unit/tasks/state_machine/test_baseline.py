"""How far back the jobs are listed that were there before a call."""

import pytest

from tasks.state_machine.submission import MAX_CLOCK_STEP_MS, baseline_since
from tests.support.records import NOW, cluster

MARGIN = 70_000


def test_it_reaches_back_as_far_as_a_clock_may_step() -> None:
    """A job that is made while the provider's clock is behind is listed as an earlier one."""
    assert baseline_since(cluster(), NOW, MARGIN) <= NOW - 600_000


@pytest.mark.parametrize(("doubt_ago", "counts"), [(100_000, True), (100 * MARGIN, False)])
def test_it_reaches_back_to_a_doubt_that_is_recent(doubt_ago: int, counts: bool) -> None:
    since = baseline_since(cluster(doubt_since=NOW - doubt_ago), NOW, MARGIN)

    assert since == NOW - MARGIN - MAX_CLOCK_STEP_MS - (doubt_ago if counts else 0)
