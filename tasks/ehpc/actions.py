"""PURE: the calls of the EHPC API that this project makes, as method, path, parameters and body."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks.ehpc.signature import timestamp

PAGE = 100  # page "Common parameters": lists give 10 rows unless `limit` says more, 100 at most
MAX_NODES = 99  # page "addNodes": node_count is "1" to "99"


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One call, unsigned. `path` is appended to the API's entry."""

    action: str
    method: str
    path: str
    params: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def only_reads(self) -> bool:
        return self.method == "GET"


def add_nodes_body(
    *,
    cluster_id: str,
    zone: str,
    node_role: str,
    node_count: int,
    node_name: str | None = None,
    private_ips: Sequence[str] | None = None,
    resource_conf: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the body of addNodes; the count goes as a string, `resource_conf` as a string of JSON.

    Raises ValueError for a count that one operation cannot have.
    """
    if not 1 <= node_count <= MAX_NODES:
        raise ValueError(f"node_count={node_count}: one operation has 1 to {MAX_NODES} nodes")
    body: dict[str, Any] = {"cluster_id": cluster_id, "node_role": node_role, "node_count": str(node_count)}
    if node_name is not None:
        body["node_name"] = node_name
    if private_ips is not None:
        body["private_ips"] = list(private_ips)
    if resource_conf is not None:
        body["resource_conf"] = json.dumps(resource_conf, sort_keys=True)
    body["zone"] = zone
    return json.dumps(body).encode()


def add_nodes(zone: str, body: bytes) -> ApiRequest:
    return ApiRequest("addNodes", "POST", "/cluster/addNodes", {"zone": zone}, body)


def list_jobs(
    zone: str,
    *,
    offset: int,
    newest_first: bool,
    start_time: datetime | None = None,
    resource_ids: str | None = None,
    job_ids: str | None = None,
) -> ApiRequest:
    """Return the call for a page of the operation log; `start_time` is the earliest creation time."""
    params = {
        "zone": zone,
        "limit": str(PAGE),
        "offset": str(offset),
        "reverse": "1" if newest_first else "0",
    }
    if start_time is not None:
        params["start_time"] = timestamp(start_time)
    if resource_ids is not None:
        params["resource_ids"] = resource_ids
    if job_ids is not None:
        params["job_ids"] = job_ids
    return ApiRequest("operation", "GET", "/operation", params)


def list_nodes(zone: str, cluster_id: str, *, offset: int) -> ApiRequest:
    params = {"zone": zone, "cluster_id": cluster_id, "limit": str(PAGE), "offset": str(offset)}
    return ApiRequest("listNodes", "GET", "/cluster/listNodes", params)
