"""When to look at a zone's jobs again. Knows nothing of retries."""

from __future__ import annotations

import math

from tasks.quota.governor import CallClass, Following

WITH_ROOM_FOR_SUBMISSIONS = 0.82
GUARANTEED = 0.40


def interval_s(poll_interval_s: float, following: Following) -> float:
    """Seconds between two looks at a zone, the same for all zones.

    Never below `poll_interval_s`. If looks so frequent would take more than following's calls, they are
    spread evenly over the window: that is the soonest that a job's end can be seen on average.
    """
    if not math.isfinite(following.window_s):
        return poll_interval_s
    return max(poll_interval_s, following.window_s * max(following.pages, 1) / calls_of_a_window(following))


def calls_of_a_window(following: Following) -> float:
    """How many calls a window following may take.

    It stays so far below what submissions are granted up to that a new one finds room at once, and gives
    way as they take more; but not below its guaranteed share as long as the window has that.
    """
    limit, others = following.limit, following.others
    shared = WITH_ROOM_FOR_SUBMISSIONS * limit - others
    guaranteed = min(GUARANTEED * limit, CallClass.FOLLOW.value * limit - others)
    return max(shared, guaranteed, 1.0)
