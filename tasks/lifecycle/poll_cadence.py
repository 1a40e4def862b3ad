"""When to look at a zone's jobs again. Knows nothing of retries."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pressure:
    """What is left of the quota: `free` calls of `limit` in a window of `window_s`."""

    free: int
    limit: int
    window_s: float


def interval_s(poll_interval_s: float, pages: int, pressure: Pressure) -> float:
    """Seconds until the next look at a zone that took `pages` calls.

    With half of the window free there is no pressure and it is `poll_interval_s`. Below that, looks are
    spread so that what is free lasts a whole window.
    """
    if pressure.free * 2 >= pressure.limit:
        return poll_interval_s
    if pressure.free <= 0:
        return max(poll_interval_s, pressure.window_s / 20)
    spread = pressure.window_s * max(pages, 1) / pressure.free
    return (
        max(poll_interval_s, min(spread, pressure.window_s / 20))
        if math.isfinite(spread)
        else poll_interval_s
    )
