"""Pure: what a request's history says: who asked, every attempt, what the provider said, the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.records import Request

OF_OPERATION = "operation_"
FIELDS = ("job_id", "node_count", "nodes_added", "ret_code", "error_codes", "by", "why")
EMPTY = dict.fromkeys(("at", "until", "state", *FIELDS, "said"))
SAID = ("message", "reason", "because")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests are asked for; None: any. `since`: ended then or later (ms), or not yet."""

    cluster_id: str | None = None
    requested_by: str | None = None
    state: str | None = None
    since: int | None = None

    def takes(self, request: Request, state: str) -> bool:
        form = request.asked
        return (
            (self.cluster_id is None or (form is not None and form.cluster_id == self.cluster_id))
            and (self.requested_by is None or (form is not None and form.requested_by == self.requested_by))
            and (self.state is None or state == self.state)
            and (self.since is None or request.finished_at is None or request.finished_at >= self.since)
        )


def state_of(request: Request) -> str:
    """The outcome's status; `waiting`, `in_progress` or `held` for one that has not ended."""
    if request.status is not None:
        return request.status
    states = {share.state.value for share in request.live_shares}
    if "held" in states:
        return "held"
    return "in_progress" if states - {"planned"} else "waiting"


def chronicle(request: Request, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One entry of `scaleout history`. `lines`: the request's, oldest first; the oldest may be gone."""
    form = request.asked
    ended = request.finished_at
    refusal = None if request.status == "succeeded" else request.last_refusal
    return {
        "request_id": request.request_id,
        "state": state_of(request),
        "requested_by": form.requested_by if form else None,
        "cluster_id": form.cluster_id if form else None,
        "zone": form.zone if form else None,
        "node_role": form.node_role if form else None,
        "nodes_requested": form.node_count if form else None,
        "nodes_added": request.nodes_added,
        "accepted_at": timestamp(request.accepted_at),
        "finished_at": None if ended is None else timestamp(ended),
        "duration_s": None if ended is None else max(0, ended - request.accepted_at) / 1000,
        "attempts": attempts(lines),
        "refusals": request.refusals,
        "error": None if refusal is None else refusal.model_dump(),
    }


def attempts(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The operations that served the request, in order: how far each came, and what was said of it.

    `node_count` and `nodes_added` are the operation's, whatever part of it was this request's.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        operation_id, event = line.get("operation_id"), line["event"]
        if operation_id is None or not event.startswith(OF_OPERATION):
            continue
        attempt = found.setdefault(operation_id, {"operation_id": operation_id, **EMPTY, "at": line["at"]})
        # The last line says how it ended, or how far it has come.
        attempt["state"] = line.get("status") or event.removeprefix(OF_OPERATION)
        attempt["until"] = line["at"]
        attempt.update({name: line[name] for name in FIELDS if line.get(name) is not None})
        said = next((line[name] for name in SAID if line.get(name)), None)
        if said is not None:
            attempt["said"] = said
    return list(found.values())
