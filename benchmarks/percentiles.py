"""Pure: what a list of figures comes to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Of times, in seconds."""

    mean: float
    p50: float
    p99: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError for no values at all."""
    if not values:
        raise ValueError("there is nothing to take percentiles of")
    ordered = sorted(values)
    mean = math.fsum(ordered) / len(ordered)
    return Spread(mean, percentile(ordered, 50), percentile(ordered, 99), ordered[-1])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the `ordered` values do not exceed (nearest rank)."""
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[max(rank, 1) - 1]


def max_in_a_window(times: Sequence[float], window_s: float) -> int:
    """The most of the ordered `times` that lie within any `window_s`, its end not included."""
    most, first = 0, 0
    for last, time in enumerate(times):
        while times[first] <= time - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most
