"""How long a pool's operations take: the last of them, from which lead times and statistics are made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from tasks.ledger.records import Operation, Request

KEPT = 100
KEPT_S = 90 * 86_400


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of one cluster, in words: `name` is what demand is kept by."""

    cluster_id: str
    name: str
    zone: str
    node_role: str
    resource_conf: dict[str, Any] | None = None

    @classmethod
    def of(cls, request: Request) -> Pool:
        form = request.form
        return cls(form.cluster_id, request.pool, form.zone, form.node_role, form.resource_conf)

    def text(self) -> str:
        """The same text for the same pool, as JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Duration:
    """One operation from its sending to its end `at` (ms): how many `nodes` came, `ok` if it succeeded."""

    ms: int
    nodes: int
    ok: bool
    at: int

    def text(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, separators=(",", ":"))


def took(operation: Operation, now: int) -> Duration:
    """Of an operation that ends at `now` (ms) by its job."""
    began = operation.sent_at or operation.planned_at
    ok = operation.verdict is not None and operation.verdict.successful
    return Duration(max(0, now - began), operation.nodes_added, ok, now)


def percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest of `values` that at least `share` of them do not exceed; None if there are none."""
    if not values:
        return None
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]
