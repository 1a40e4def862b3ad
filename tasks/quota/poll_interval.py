"""The interval between polls of a zone. Knows nothing of retries."""

import math

from tasks.quota.priorities import CallPriority, PollingBudget

GUARANTEED = 0.40
CALLS_PER_SUBMISSION = 2  # the listing of the cluster's jobs, and addNodes
MAX_WINDOWS = 0.5


def interval_s(poll_interval_s: float, budget: PollingBudget, *, submissions_wait: bool = False) -> float:
    """Return the seconds between two polls of a zone, the same for all zones.

    It is at least `poll_interval_s`. If polls that frequent would take more calls than the budget has, they
    are spread evenly over the window: no other spacing sees a job's end sooner on average. After half a
    window the calls of others are read again, unless submissions wait: with many zones they would get none.
    """
    if not math.isfinite(budget.window_s):
        return poll_interval_s
    calls = calls_per_window(budget, submissions_wait=submissions_wait)
    windows = max(budget.calls_per_poll, 1) / calls
    if not submissions_wait:
        windows = min(windows, MAX_WINDOWS)
    return max(poll_interval_s, budget.window_s * windows)


def calls_per_window(budget: PollingBudget, *, submissions_wait: bool = False) -> float:
    """Return how many calls a window polls may take.

    They stay below the limit of submissions, so that the first new ones find room even just after a poll, and
    yield as submissions take more. If some wait all the same, polls yield further: a call counts for a whole
    window, and submissions would wait as long. The guaranteed fraction always stays.
    """
    limit, others = budget.limit, budget.others
    shared = CallPriority.SUBMIT.value * limit - budget.calls_per_poll - CALLS_PER_SUBMISSION - others
    guaranteed = min(GUARANTEED * limit, CallPriority.POLL.value * limit - others)
    return max(guaranteed if submissions_wait else max(shared, guaranteed), 1.0)
