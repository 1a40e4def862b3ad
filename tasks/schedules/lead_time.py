"""PURE: how long before its occurrence a schedule makes a request whose nodes must be there by then."""

from math import ceil

from config.policy.model import Schedule
from tasks.contract.request import MAX_NODES_PER_OPERATION

# A few operations that took very long must not have nodes bought, and paid for, many hours too early.
MAX_ADAPTIVE_S = 6 * 3600
PERCENTILE = 0.9


def rounds(schedule: Schedule) -> int:
    """Return how many operations its nodes take, one after the other."""
    return ceil(schedule.node_count / MAX_NODES_PER_OPERATION)


def is_adaptive(schedule: Schedule) -> bool:
    return schedule.ready_by and schedule.lead_time == "adaptive"


def lead_time_s(schedule: Schedule, p90_ms: int | None) -> int:
    """Return the lead time in seconds.

    Args:
        p90_ms: what nine of ten recent operations of the pool did not exceed; None if there were none.
    """
    if not schedule.ready_by:
        return 0
    if not is_adaptive(schedule) or p90_ms is None:
        return schedule.floor_s
    return max(schedule.floor_s, min(ceil(rounds(schedule) * p90_ms / 1000), MAX_ADAPTIVE_S))
