"""Pure: how long before its moment a schedule asks for nodes that have to be there by then."""

from __future__ import annotations

from math import ceil

from config.policy.model import Schedule
from tasks.contract.request import MAX_NODES_PER_OPERATION

# A few operations that took for ever must not have nodes bought, and paid for, many hours too early.
MOST_LEARNT_S = 6 * 3600
SHARE = 0.9


def rounds(schedule: Schedule) -> int:
    """Operations that its nodes take, one after the other, for a cluster is changed by one at a time."""
    return ceil(schedule.node_count / MAX_NODES_PER_OPERATION)


def learns(schedule: Schedule) -> bool:
    return schedule.ready_by and schedule.lead_time == "learnt"


def lead_time_s(schedule: Schedule, p90_ms: int | None) -> int:
    """`p90_ms`: what nine of ten recent operations of the pool did not exceed, None if there were none."""
    if not schedule.ready_by:
        return 0
    if not learns(schedule) or p90_ms is None:
        return schedule.floor_s
    learnt = min(ceil(rounds(schedule) * p90_ms / 1000), MOST_LEARNT_S)
    return max(schedule.floor_s, learnt)
