"""When to look at a zone's jobs again. Knows nothing of retries."""

from __future__ import annotations

import math

from tasks.quota.rate_limiter import CallClass, Following

GUARANTEED = 0.40
OF_ONE_SUBMISSION = 2  # calls: a look at the cluster's jobs, and the sending
LONGEST = 0.5


def interval_s(poll_interval_s: float, following: Following, *, submissions_wait: bool = False) -> float:
    """Seconds between two looks at a zone, the same for all zones.

    Never below `poll_interval_s`. If looks so frequent would take more than following's calls, they are
    spread evenly over the window: that is the soonest that a job's end can be seen on average. After half a
    window at the latest what others have used is worth another look, which waits for its calls if need be;
    but not while submissions wait, which would get none if many zones had so many looks.
    """
    if not math.isfinite(following.window_s):
        return poll_interval_s
    calls = calls_of_a_window(following, submissions_wait=submissions_wait)
    windows = max(following.calls_of_a_look, 1) / calls
    if not submissions_wait:
        windows = min(windows, LONGEST)
    return max(poll_interval_s, following.window_s * windows)


def calls_of_a_window(following: Following, *, submissions_wait: bool = False) -> float:
    """How many calls a window following may take.

    It stays so far below what submissions are granted up to that the first new ones find room at once, even
    just after a look, and gives way as they take more. If some wait for calls all the same, it gives way
    further: what it has used is in the window for a whole period, and would keep them waiting as long. It
    always keeps its guaranteed share as long as the window has that.
    """
    limit, others = following.limit, following.others
    shared = CallClass.SUBMIT.value * limit - following.calls_of_a_look - OF_ONE_SUBMISSION - others
    guaranteed = min(GUARANTEED * limit, CallClass.FOLLOW.value * limit - others)
    return max(guaranteed if submissions_wait else max(shared, guaranteed), 1.0)
