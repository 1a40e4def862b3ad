"""How long a pool's operations take: the last of them, from which lead times and statistics are made."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil

from tasks.ledger.records import Operation

KEPT = 100
KEPT_S = 90 * 86_400


@dataclass(frozen=True, slots=True)
class Duration:
    """One operation, from its sending to its end at `at` (ms). `nodes`: how many it added."""

    ms: int
    nodes: int
    ok: bool
    at: int

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def duration_of(operation: Operation, now: int) -> Duration:
    """Return how long an operation took whose job ends it at `now` (ms)."""
    began = operation.sent_at or operation.planned_at
    ok = operation.job_result is not None and operation.job_result.successful
    return Duration(max(0, now - began), operation.nodes_added, ok, now)


def percentile(values: Sequence[int], fraction: float) -> int | None:
    """Return the smallest value that at least `fraction` of them do not exceed; None if there are none."""
    if not values:
        return None
    return sorted(values)[max(0, ceil(fraction * len(values)) - 1)]
