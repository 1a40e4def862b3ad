"""Pure: where a request stands, and what it waits for, for people and programs that ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isinf
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import Pauses
from tasks.ledger.records import Account, Cluster, Operation, Request, State
from tasks.quota.rate_limiter import USED_UP
from tasks.state_machine import circuit_breaker
from tasks.state_machine.pauses import text_of as pause_text
from tasks.views.blockers import account_text

SILENT_S = 60.0


@dataclass(frozen=True, slots=True)
class Standing:
    """`state`: waiting, in_progress, held, or the outcome's status; `why` says what is waited for."""

    state: str
    why: str | None


def standing_of(
    request: Request,
    cluster: Cluster,
    account: Account,
    operations: Mapping[str, Operation],
    now: int,
    pauses: Pauses | None = None,
    *,
    resting_until: int | None = None,
    silent_s: float = 0.0,
) -> Standing:
    """`resting_until`: when (ms) there are API calls for new operations again, None if there are now.

    `silent_s`: for how long no worker has ticked.
    """
    if request.status is not None:
        return Standing(request.status, None)
    live = [
        operations[share.operation_id] for share in request.live_shares if share.operation_id in operations
    ]
    held = [operation for operation in live if operation.state is State.HELD]
    if held:
        return Standing("held", f"operation {held[0].operation_id}: {held[0].held_because}")
    sent = [operation for operation in live if operation.state is not State.PLANNED]
    if sent:
        return Standing("in_progress", _progress(sent[0]))
    if pauses is not None and (pause := pauses.in_force(now)) is not None:
        return Standing("waiting", pause_text(pause))
    if live:
        waits_for = live[0].refusal
        why = "its cluster's operations are being listed" if waits_for is None else waits_for.message
        return Standing("waiting", why)
    return Standing("waiting", _waiting(request, cluster, account, now, resting_until, silent_s))


def _progress(operation: Operation) -> str:
    if operation.state is State.IN_DOUBT:
        reason = operation.doubt.reason if operation.doubt else "unknown"
        return f"operation {operation.operation_id} is in doubt: {reason}"
    if operation.job_id is None:
        return f"operation {operation.operation_id} is being sent"
    return f"job {operation.job_id} is running"


def _waiting(
    request: Request,
    cluster: Cluster,
    account: Account,
    now: int,
    resting_until: int | None,
    silent_s: float,
) -> str:
    if account.refused_since is not None and account.refusal is not None:
        return account_text(account)
    if cluster.gate is not None:
        return f"gate: cluster {cluster.cluster_id} is being changed by operation {cluster.gate}"
    broken = cluster.breakers.get(request.pool)
    if broken is not None and broken.is_open:
        return circuit_breaker.text_of(broken)
    for refusal, until in (
        (cluster.waits_for, cluster.not_before),
        (request.last_refusal, request.not_before),
    ):
        if until > now and refusal is not None:
            return f"{refusal.kind}, until {timestamp(until)}: {refusal.message}"
    if resting_until is not None:
        return f"quota, until {timestamp(resting_until)}: {USED_UP}"
    if silent_s > SILENT_S:
        return f"a worker: none has ticked {'yet' if isinf(silent_s) else f'for {silent_s:.0f} s'}"
    return "the next operation of its pool"


async def read_standing(ledger: Ledger, request: Request) -> Standing:
    """Read what `standing_of` needs."""
    if request.asked is None or request.ended:
        return Standing(request.status or "rejected", None)
    cluster = await ledger.cluster(request.form.cluster_id)
    account = await ledger.account()
    operations = await ledger.operations(share.operation_id for share in request.live_shares)
    pauses = await ledger.pauses(request.form.cluster_id)
    resting = await ledger.submissions_rest_until()
    beats, now = await ledger.overview.heartbeats(), ledger.clock.now_ms()
    silent_s = (now - max(beats.values())) / 1000 if beats else inf
    return standing_of(
        request, cluster, account, operations, now, pauses, resting_until=resting, silent_s=silent_s
    )


def summary(request: Request, standing: Standing, outcome: Mapping[str, Any] | None) -> dict[str, Any]:
    """What `scaleout status --json` prints of a request."""
    form = request.asked
    return {
        "request_id": request.request_id,
        "state": standing.state,
        "why": standing.why,
        "outcome": outcome,
        "cluster_id": form.cluster_id if form else None,
        "zone": form.zone if form else None,
        "nodes_requested": form.node_count if form else None,
        "nodes_added": request.nodes_added,
        "nodes_in_progress": sum(share.node_count for share in request.live_shares),
        "refusals": request.refusals,
        "requested_by": form.requested_by if form else None,
        "accepted_at": timestamp(request.accepted_at),
        "deadline_at": timestamp(request.deadline_at),
        "operations": [
            {"operation_id": share.operation_id, "state": share.state.value, "job_id": share.job_id}
            for share in request.shares
        ],
    }
