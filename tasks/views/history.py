"""A request's history: producer, every attempt with the provider's response, the outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.records import Request
from tasks.views.status import state_of

OF_OPERATION = "operation_"
FIELDS = ("job_id", "node_count", "nodes_added", "ret_code", "error_codes", "by", "reason")
EMPTY = dict.fromkeys(("at", "until", "state", *FIELDS, "last_error"))


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which requests are shown; None shows any. `since`: those that ended then or later (ms), or have not."""

    cluster_id: str | None = None
    requested_by: str | None = None
    state: str | None = None
    since: int | None = None

    def matches(self, request: Request) -> bool:
        spec = request.spec
        return (
            (self.cluster_id is None or (spec is not None and spec.cluster_id == self.cluster_id))
            and (self.requested_by is None or (spec is not None and spec.requested_by == self.requested_by))
            and self.state in (None, state_of(request))
            and (self.since is None or request.finished_at is None or request.finished_at >= self.since)
        )


def history_entry(request: Request, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one entry of `scaleout history`.

    Args:
        lines: the request's events, oldest first; the oldest may be gone.
    """
    spec = request.spec
    ended = request.finished_at
    reason = None if request.status == "succeeded" else request.last_reason
    return {
        "request_id": request.request_id,
        "state": state_of(request),
        "requested_by": spec.requested_by if spec else None,
        "cluster_id": spec.cluster_id if spec else None,
        "zone": spec.zone if spec else None,
        "node_role": spec.node_role if spec else None,
        "nodes_requested": spec.node_count if spec else None,
        "nodes_added": request.nodes_added,
        "accepted_at": timestamp(request.accepted_at),
        "finished_at": None if ended is None else timestamp(ended),
        "duration_s": None if ended is None else max(0, ended - request.accepted_at) / 1000,
        "attempts": attempts(lines),
        "refusals": request.refusals,
        "error": None if reason is None else reason.model_dump(),
    }


def attempts(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the operations that served the request, in order, with the last error of each.

    `node_count` and `nodes_added` are the operation's, whatever part of it was this request's.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        operation_id, event = line.get("operation_id"), line["event"]
        if operation_id is None or not event.startswith(OF_OPERATION):
            continue
        attempt = found.setdefault(operation_id, {"operation_id": operation_id, **EMPTY, "at": line["at"]})
        # The last line shows how it ended, or how far it is.
        attempt["state"] = line.get("status") or event.removeprefix(OF_OPERATION)
        attempt["until"] = line["at"]
        attempt.update({name: line[name] for name in FIELDS if line.get(name) is not None})
        error = line.get("message") or line.get("reason")
        if error:
            attempt["last_error"] = error
    return list(found.values())
