"""Policies and requests to put against each other."""

from __future__ import annotations

from typing import Any

from config.policy.model import Policy
from tasks.contract.request import ScaleOutRequest
from tasks.limits.applicable import Meter
from tasks.limits.checks import Figures, Usage

NOW = 1_700_000_000_000
HOUR = Meter("account", 3_600)
DAY = Meter("account", 86_400)
FLIGHT = Meter("cluster:ehpc-a", 0)


def policy(*, allow: dict[str, Any] | None = None, **limits: Any) -> Policy:
    return Policy.model_validate({"limits": limits, "allow": allow or {}})


def asks(nodes: int = 10, request_id: str = "r-1", **more: Any) -> ScaleOutRequest:
    given = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": nodes}
    return ScaleOutRequest.model_validate({**given, **more})


def bought(nodes: int, meter: Meter = HOUR, *leaving: tuple[int, int], present: int | None = None) -> Figures:
    return Figures({meter: Usage(nodes, leaving)}, present)
