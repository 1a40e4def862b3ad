"""PURE: the state of a request, what it waits for, and the status document, for people and programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isinf
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.pauses import Pauses
from tasks.ledger.record_values import State
from tasks.ledger.records import Account, Cluster, Operation, Request
from tasks.quota.rate_limiter import EXHAUSTED
from tasks.state_machine import blocked_account, circuit_breaker, pauses

SILENT_S = 60.0


@dataclass(frozen=True, slots=True)
class StatusReason:
    """What a request waits for; `until`: its end, or the next attempt; `remedy`: a command that helps."""

    kind: str
    message: str
    until: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """`state`: waiting, in_progress, held, or the outcome's status."""

    state: str
    reason: StatusReason | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else the status of a request depends on.

    Fields:
        operations: those that serve the request, by id.
        missing_since: jobs that the operation log does not show, by since when (ms).
        suspended_until: when there are API calls for new operations again (ms); None if there are now.
        silent_s: for how many seconds no worker has ticked.
    """

    cluster: Cluster
    account: Account
    pauses: Pauses
    operations: Mapping[str, Operation]
    missing_since: Mapping[str, int] = field(default_factory=dict)
    suspended_until: int | None = None
    silent_s: float = 0.0


def state_of(request: Request) -> str:
    """Return the outcome's status; `waiting`, `in_progress` or `held` for a request that has not ended."""
    if request.status is not None:
        return request.status
    states = {part.state for part in request.live_assignments}
    if State.HELD in states:
        return "held"
    return "in_progress" if states - {State.PLANNED} else "waiting"


def status_of(request: Request, around: Surroundings, now: int) -> RequestStatus:
    """Return the state of a request and the reason for it; `now` in ms."""
    if request.status is not None:
        return RequestStatus(request.status)
    live = [
        around.operations[part.operation_id]
        for part in request.live_assignments
        if part.operation_id in around.operations
    ]
    held = [operation for operation in live if operation.state is State.HELD]
    if held:
        operation_id = held[0].operation_id
        message = f"operation {operation_id} is held: {held[0].held_reason}"
        return RequestStatus("held", StatusReason("held", message, remedy=f"scaleout resolve {operation_id}"))
    sent = [operation for operation in live if operation.state is not State.PLANNED]
    if sent:
        return RequestStatus("in_progress", _progress(sent[0], around.missing_since))
    if (pause := around.pauses.in_force(now)) is not None:
        until = None if pause.until is None else timestamp(pause.until)
        return RequestStatus("waiting", StatusReason("pause", pauses.describe(pause), until))
    if live and live[0].reason is not None:
        return RequestStatus("waiting", StatusReason(live[0].reason.kind, live[0].reason.message))
    if live:
        return RequestStatus("waiting", StatusReason("submission", "its cluster's jobs are being listed"))
    return RequestStatus("waiting", _waiting(request, around, now))


def _progress(operation: Operation, missing_since: Mapping[str, int]) -> StatusReason:
    name = operation.operation_id
    if operation.state is State.IN_DOUBT:
        detail = operation.doubt.reason if operation.doubt else "unknown"
        return StatusReason("in_doubt", f"operation {name} is in doubt: {detail}")
    if operation.job_id is None:
        return StatusReason("submission", f"operation {name} is being sent")
    since = missing_since.get(operation.job_id)
    if since is not None:
        message = (
            f"the operation log has not shown job {operation.job_id} since {timestamp(since)}: it is looked "
            "up with each poll, and held if it stays away"
        )
        return StatusReason("job_missing", message)
    return StatusReason("job", f"job {operation.job_id} is running")


def _waiting(request: Request, around: Surroundings, now: int) -> StatusReason:
    cluster, account = around.cluster, around.account
    if account.blocked_since is not None and account.reason is not None:
        return StatusReason("account", blocked_account.describe(account), timestamp(account.not_before))
    if cluster.locked_by is not None:
        message = f"operation {cluster.locked_by} is changing cluster {cluster.cluster_id}"
        return StatusReason("cluster_lock", message)
    breaker = cluster.breakers.get(request.pool)
    if breaker is not None and breaker.is_open:
        remedy = f"scaleout resume --cluster {cluster.cluster_id}"
        return StatusReason("breaker", circuit_breaker.describe(breaker), timestamp(breaker.until), remedy)
    if request.not_before > now and request.last_reason is None:
        message = "its producer wants nothing bought before then"
        return StatusReason("not_before", message, timestamp(request.not_before))
    for reason, until in (
        (cluster.wait_reason, cluster.not_before),
        (request.last_reason, request.not_before),
    ):
        if until > now and reason is not None:
            return StatusReason(reason.kind, reason.message, timestamp(until))
    if around.suspended_until is not None:
        return StatusReason("quota", EXHAUSTED, timestamp(around.suspended_until))
    if around.silent_s > SILENT_S:
        since = "yet" if isinf(around.silent_s) else f"for {around.silent_s:.0f} s"
        return StatusReason("worker", f"no worker has ticked {since}", remedy="scaleout doctor")
    return StatusReason("planning", "the next operation of its pool is about to be planned")


def status_document(
    request: Request, status: RequestStatus, outcome: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the status document, version 1: one shape for the command line and other surfaces."""
    spec = request.spec
    sent = [part for part in request.live_assignments if part.state is not State.PLANNED]
    return {
        "version": 1,
        "request_id": request.request_id,
        "state": status.state,
        "cluster_id": spec.cluster_id if spec else None,
        "zone": spec.zone if spec else None,
        "node_role": spec.node_role if spec else None,
        "nodes_requested": spec.node_count if spec else None,
        "nodes_added": request.nodes_added,
        "nodes_in_progress": sum(part.node_count for part in sent),
        "requested_by": spec.requested_by if spec else None,
        "accepted_at": timestamp(request.accepted_at),
        "deadline_at": timestamp(request.deadline_at),
        "cancelled": request.cancelled,
        "reason": None if status.reason is None else asdict(status.reason),
        "operations": [
            {"operation_id": part.operation_id, "state": part.state.value, "job_id": part.job_id}
            for part in request.assignments
        ],
        "outcome": outcome,
    }
