"""What benchmarks say of a list of figures."""

import pytest

from benchmarks.percentiles import max_in_a_window, percentile, spread


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 201)]

    assert [percentile(values, percent) for percent in (0, 50, 99, 100)] == [1, 100, 198, 200]
    assert percentile([7.0], 99) == 7


def test_a_spread_ignores_order_and_has_mean_and_maximum() -> None:
    found = spread([4.0, 1.0, 10.0, 1.0])

    assert (found.mean, found.p50, found.p99, found.most) == (4, 1, 10, 10)


def test_there_is_no_spread_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        spread([])


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([5], 1), ([0, 1, 2, 9.99], 4), ([0, 10], 1), ([0, 5, 9, 10, 11, 14, 30], 5)],
)
def test_the_maximum_of_calls_in_any_window_excludes_its_start(times: list[float], most: int) -> None:
    assert max_in_a_window(times, 10) == most
