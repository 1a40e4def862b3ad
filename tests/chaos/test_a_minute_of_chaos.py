"""A hundred requests while processes die and networks fail: at the end the truth is what the outcomes say."""

from pathlib import Path

import pytest

from tests.chaos.run import run

SEED = 1


@pytest.mark.timeout(400)
def test_a_minute_of_chaos_loses_nothing_and_buys_nothing_twice(tmp_path: Path) -> None:
    report = run(SEED, tmp_path)

    assert not report.verdict.problems, str(report)
    assert report.faults.total() >= 30
