"""Pools: requests of one pool on one cluster can share a call."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from tasks.contract.request import RequestContent


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of one cluster. `name`: the one under which its demand is kept."""

    cluster_id: str
    name: str
    zone: str
    node_role: str
    resource_conf: dict[str, Any] | None = None

    @classmethod
    def of(cls, spec: RequestContent) -> Pool:
        return cls(spec.cluster_id, pool_of(spec), spec.zone, spec.node_role, spec.resource_conf)

    def text(self) -> str:
        """Return the pool as JSON, the same text for the same pool."""
        return _json(asdict(self))


def pool_of(spec: RequestContent) -> str:
    """Return the name of the pool: requests of one pool can share a call unless one is exclusive."""
    return _pool_name(_json(spec.zone), _json(spec.node_role), _json(spec.resource_conf))


@lru_cache(maxsize=1_000)
def _pool_name(zone: str, node_role: str, resource_conf: str) -> str:
    return hashlib.sha256(f"[{zone},{node_role},{resource_conf}]".encode()).hexdigest()[:16]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
