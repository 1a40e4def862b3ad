"""One short run each of two code versions on one ledger, and of a failover that loses steps."""

from pathlib import Path

import pytest

from tests.chaos import failovers, versions


@pytest.mark.timeout(240)
@pytest.mark.skipif(not versions.has_earlier_commit(), reason="this checkout lacks the earlier commit")
def test_an_earlier_version_and_this_one_share_a_ledger(tmp_path: Path) -> None:
    verdict = versions.run(tmp_path, seconds=4.5, seed=7)

    assert verdict.broken == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("restarts", [False, True])
def test_a_failover_that_loses_steps_buys_nothing_twice(tmp_path: Path, restarts: bool) -> None:
    verdict = failovers.run(tmp_path, failovers=1, seed=2, behind=True, restarts=restarts)

    assert verdict.broken == []
