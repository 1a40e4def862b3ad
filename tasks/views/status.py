"""PURE: the state of a request, what it waits for, and the status document, for people and programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isinf
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.pauses import EVERYTHING, Pauses
from tasks.ledger.record_values import State
from tasks.ledger.records import Account, Cluster, Operation, Request
from tasks.quota.rate_limiter import EXHAUSTED
from tasks.state_machine import blocked_account, circuit_breaker, pauses

SILENT_S = 60.0
# What an error means that the listing before a call has met.
KINDS_BEFORE_SENDING = {
    "in_doubt": "listing",
    "rejected": "listing",
    "api_error": "listing",
    "account_blocked": "account",
}


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
        operations: those that serve the request, and the one that locks its cluster, by id.
        next_try: when operations that wait are tried again (ms), by id.
        missing_since: jobs that the operation log does not show, by since when (ms).
        suspended_until: when there are API calls for new operations again (ms); None if there are now.
        silent_s: for how many seconds no worker has ticked.
    """

    cluster: Cluster
    account: Account
    pauses: Pauses
    operations: Mapping[str, Operation]
    missing_since: Mapping[str, int] = field(default_factory=dict)
    next_try: Mapping[str, int] = field(default_factory=dict)
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
        return RequestStatus("in_progress", _progress(sent[0], around, now))
    if (pause := around.pauses.in_force(now)) is not None:
        until = None if pause.until is None else timestamp(pause.until)
        of = "" if pause.scope == EVERYTHING else f" --cluster {pause.scope}"
        return RequestStatus(
            "waiting", StatusReason("pause", pauses.describe(pause), until, f"scaleout resume{of}")
        )
    if live:
        return RequestStatus("waiting", _planned(live[0], around, now))
    return RequestStatus("waiting", _waiting(request, around, now))


def _planned(operation: Operation, around: Surroundings, now: int) -> StatusReason:
    """Return what keeps an operation from being sent. What kept it before its next try does no more."""
    name, until = operation.operation_id, around.next_try.get(operation.operation_id, 0)
    if operation.reason is None or until <= now:
        message = f"operation {name} is about to be sent: the jobs of {operation.cluster_id} are being listed"
        return StatusReason("submission", message)
    # Nothing was sent for it, so that nothing of it can be in doubt or rejected: a listing was.
    kind = KINDS_BEFORE_SENDING.get(operation.reason.kind, operation.reason.kind)
    message = f"operation {name} is not sent yet: {operation.reason.message}"
    return StatusReason(kind, message, timestamp(until))


def _progress(operation: Operation, around: Surroundings, now: int) -> StatusReason:
    name, job_id = operation.operation_id, operation.job_id
    until = around.next_try.get(name, 0)
    next_try = timestamp(until) if until > now else None
    if operation.state is State.IN_DOUBT:
        detail = f": {operation.doubt.reason}" if operation.doubt else ""
        since = f" since {timestamp(operation.doubt.since)}" if operation.doubt else ""
        message = f"operation {name} is in doubt{since}{detail}"
        if operation.reason is not None and next_try is not None:
            message = f"{message}; its cluster's jobs could not be listed: {operation.reason.message}"
        return StatusReason("in_doubt", message, next_try, f"scaleout resolve {name}")
    if job_id is None:
        return StatusReason("submission", f"the call of operation {name} is on its way{_since(operation)}")
    if operation.job_result is not None:
        message = f"job {job_id} has ended, and the nodes that it made are being counted"
        if operation.reason is not None and next_try is not None:
            message = f"{message}: {operation.reason.message}"
        return StatusReason("job", message, next_try)
    since_ms = around.missing_since.get(job_id)
    if since_ms is not None:
        message = (
            f"the operation log has not shown job {job_id} since {timestamp(since_ms)}: it is looked "
            "up with each poll, and held if it stays away"
        )
        return StatusReason("job_missing", message)
    return StatusReason("job", f"job {job_id} is running{_since(operation)}")


def _since(operation: Operation) -> str:
    return "" if operation.sent_at is None else f" since {timestamp(operation.sent_at)}"


def _waiting(request: Request, around: Surroundings, now: int) -> StatusReason:
    cluster, account = around.cluster, around.account
    if account.blocked_since is not None and account.reason is not None:
        message, next_try = blocked_account.describe(account), timestamp(account.not_before)
        return StatusReason("account", message, next_try, "scaleout doctor")
    if cluster.locked_by is not None:
        return _locked(cluster, cluster.locked_by, around.operations.get(cluster.locked_by))
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


def _locked(cluster: Cluster, name: str, operation: Operation | None) -> StatusReason:
    if operation is not None and operation.state is State.HELD:
        message = (
            f"operation {name}, which is held, locks cluster {cluster.cluster_id}: {operation.held_reason}"
        )
        return StatusReason("cluster_lock", message, remedy=f"scaleout resolve {name}")
    since = "" if operation is None else _since(operation)
    return StatusReason("cluster_lock", f"operation {name} is changing cluster {cluster.cluster_id}{since}")


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
