"""The demo's twenty-four requests, which show every path through the worker."""

from dataclasses import dataclass, field
from typing import Any

SOLD_OUT_CLUSTER = "ehpc-soldout1"
SOLD_OUT_NODES = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Requests that are shown as one line. `expected` is the status that each has to end with.

    `unseen`: what is shown of those that are not in the ledger yet.
    """

    title: str
    requests: tuple[dict[str, Any], ...]
    expected: str = "succeeded"
    unseen: str = "sent"
    ids: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(request["request_id"] for request in self.requests))


def _request(request_id: str, cluster_id: str, node_count: int, **more: Any) -> dict[str, Any]:
    fields = {"request_id": request_id, "cluster_id": cluster_id, "node_count": node_count, "zone": "jn1a"}
    return {**fields, "requested_by": "demo", **more}


SCENARIO = (
    Group(
        "the vendor's own example: one login node",
        (_request("demo-login", "ehpc-8jqdq0mz", 1, node_role="login"),),
    ),
    Group("250 compute nodes on one cluster", (_request("demo-large", "ehpc-large001", 250),)),
    Group(
        "twenty requests of 2 nodes in one pool",
        tuple(_request(f"demo-small-{n:02}", "ehpc-pool0001", 2) for n in range(1, 21)),
    ),
    Group(
        "invalid: a compute node on a shared cluster",
        (_request("demo-invalid", "hpc-shared01", 1, node_role="compute"),),
        expected="rejected",
    ),
    Group("a shortage first, then capacity", (_request("demo-wait", SOLD_OUT_CLUSTER, SOLD_OUT_NODES),)),
)
