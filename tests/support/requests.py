"""Policies and requests to put against each other."""

from typing import Any

from config.policy.model import Policy
from tasks.contract.request import ScaleOutRequest
from tasks.limits.checks import CurrentUsage
from tasks.limits.usage import Usage, UsageCounter

NOW = 1_700_000_000_000
HOUR = UsageCounter("account", 3_600)
DAY = UsageCounter("account", 86_400)
FLIGHT = UsageCounter("cluster:ehpc-a", 0)


def policy(*, allow: dict[str, Any] | None = None, **limits: Any) -> Policy:
    return Policy.model_validate({"limits": limits, "allow": allow or {}})


def request_for(nodes: int = 10, request_id: str = "r-1", **more: Any) -> ScaleOutRequest:
    given = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": nodes}
    return ScaleOutRequest.model_validate({**given, **more})


def bought(
    nodes: int, counter: UsageCounter = HOUR, *leaving: tuple[int, int], present: int | None = None
) -> CurrentUsage:
    return CurrentUsage({counter: Usage(nodes, leaving)}, present)
