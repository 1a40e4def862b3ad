"""Pure: how soon, on average, ends of jobs can be known at all within a quota."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

PAGE = 100


@dataclass(frozen=True, slots=True)
class Ended:
    """A job's end and when its outcome was there, in seconds since 1970."""

    at: float
    known_at: float


def limit_s(
    ends: Sequence[Ended], running: int, poll_s: float, calls: int, period_s: float, others: Sequence[float]
) -> float:
    """The mean over `ends` of half the shortest interval between two polls at all jobs that ran then.

    `running` jobs ran before the first end. `others` are the times of calls that were not for polling;
    what they took in the period before an end was not available for polling. Raises ValueError for no ends.
    """
    if not ends:
        raise ValueError("no job has ended")
    taken = sorted(others)
    halves = []
    for gone, end in enumerate(sorted(ends, key=lambda end: end.at)):
        pages = math.ceil((running - gone) / PAGE)
        left = calls - (bisect_right(taken, end.at) - bisect_right(taken, end.at - period_s))
        interval_s = max(poll_s, pages * period_s / left) if left > 0 else period_s
        halves.append(interval_s / 2)
    return math.fsum(halves) / len(halves)
