"""Pure: what an operation that started no job means for its requests, its cluster and the account."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.ehpc.errors import (
    AccountRefused,
    Busy,
    EhpcError,
    NotAccepted,
    NotSent,
    Rejected,
    Shortage,
)
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.due import Due, DueKind
from tasks.ledger.records import Account, Cluster, Operation, Refusal, Request, State
from tasks.state_machine import circuit_breaker
from tasks.state_machine.backoff import backoff_ms
from tasks.state_machine.next_step import stop_following, without_share
from tasks.state_machine.request_outcome import enter_demand, write_request

WAITS_BY_CLUSTER = (Busy, NotAccepted, NotSent)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How the waiting after a refusal is drawn."""

    first_s: float
    rng: random.Random


def refuse(
    operation: Operation,
    requests: Sequence[Request],
    cluster: Cluster,
    account: Account,
    error: EhpcError,
    *,
    now: int,
    waiting: Waiting,
    as_state: State = State.REFUSED,
) -> Changes:
    """The provider, or the way to it, has refused `operation`: nothing was made. The gate opens.

    Its nodes go back to demand or end their request, by the class of `error` and by what each request
    wishes for a shortage. `as_state` is ABSENT if it was not refused but proved not to have been taken.
    """
    changes = Changes()
    refusal = Refusal(kind=error.kind, message=str(error), code=error.ret_code)
    refused = operation.model_copy(update={"state": as_state, "refusal": refusal, "finished_at": now})
    changes.put(refused)
    changes.expire.append(refused)
    changes.due[Due(DueKind.OPERATION, operation.operation_id)] = None
    changes.held[operation.operation_id] = None
    stop_following(changes, operation)
    shared = len(operation.allocations) > 1
    for request in requests:
        _refuse_request(changes, request, operation, error, refusal, shared, now, waiting)
    if isinstance(error, Rejected):
        cluster = circuit_breaker.failed(changes, cluster, operation, requests, str(error), now)
    _open_gate(changes, cluster, error, refusal, now, waiting)
    if isinstance(error, AccountRefused):
        changes.put(pause_account(account, refusal, now, waiting))
        changes.tell(account_refused(account, refusal))
    alert = isinstance(error, AccountRefused) or (isinstance(error, Rejected) and error.alert)
    changes.tell(
        Event(
            f"operation_{as_state.value}",
            "error" if alert else "warning",
            requests=operation.request_ids,
            fields={
                "operation_id": operation.operation_id,
                "cluster_id": operation.cluster_id,
                "zone": operation.zone,
                "node_count": operation.node_count,
                "kind": error.kind,
                "ret_code": error.ret_code,
                "message": str(error),
            },
        )
    )
    return changes


def _refuse_request(
    changes: Changes,
    request: Request,
    operation: Operation,
    error: EhpcError,
    refusal: Refusal,
    shared: bool,
    now: int,
    waiting: Waiting,
) -> None:
    share = next(share for share in request.shares if share.operation_id == operation.operation_id)
    back = without_share(request, operation).model_copy(
        update={"refusals": request.refusals + 1, "last_refusal": refusal}
    )
    if back.ended or back.cancelled:
        write_request(changes, back, now)
        return
    back = _by_class(back, share.node_count, error, shared, now, waiting)
    if back.wanted:
        enter_demand(changes, back)
    elif request.wanted:
        changes.demand.append((operation.cluster_id, request.pool, request.request_id, None))
    write_request(changes, back, now)


def _by_class(
    request: Request, nodes: int, error: EhpcError, shared: bool, now: int, waiting: Waiting
) -> Request:
    if isinstance(error, Rejected):
        return request.model_copy(update={"wanted": 0})
    if isinstance(error, Shortage):
        return _by_shortage(request, nodes, shared, now, waiting)
    return request.model_copy(update={"wanted": request.wanted + nodes})


def _by_shortage(request: Request, nodes: int, shared: bool, now: int, waiting: Waiting) -> Request:
    wanted = request.wanted + nodes
    if shared:
        # Too few for all of them together says nothing about each.
        return request.model_copy(update={"wanted": wanted, "alone": True})
    match request.form.on_shortage:
        case "fail":
            return request.model_copy(update={"wanted": 0})
        # Nodes that are named are bought in one call or not at all.
        case "partial" if nodes == 1 or request.form.goes_alone:
            return request.model_copy(update={"wanted": 0})
        case "partial":
            return request.model_copy(update={"wanted": wanted, "most_at_once": nodes // 2})
        case _:
            streak = request.streak + 1
            not_before = now + backoff_ms(streak, waiting.first_s, waiting.rng)
            return request.model_copy(update={"wanted": wanted, "streak": streak, "not_before": not_before})


def _open_gate(
    changes: Changes, cluster: Cluster, error: EhpcError, refusal: Refusal, now: int, waiting: Waiting
) -> None:
    at = now
    update: dict[str, object] = {"gate": None, "waits_for": None, "streak": 0}
    if isinstance(error, WAITS_BY_CLUSTER):
        streak = cluster.streak + 1
        at = now + backoff_ms(streak, waiting.first_s, waiting.rng)
        update = {"gate": None, "waits_for": refusal, "streak": streak, "not_before": at}
    changes.put(cluster.model_copy(update=update))
    changes.due[Due(DueKind.CLUSTER, cluster.cluster_id)] = at


def account_refused(account: Account, refusal: Refusal) -> Event:
    """That the account is refused: noted once, and logged with every try."""
    fields: dict[str, object] = {"ret_code": refusal.code, "message": refusal.message}
    return Event("account_refused", "error", fields=fields, noted=account.refused_since is None)


def pause_account(account: Account, refusal: Refusal, now: int, waiting: Waiting) -> Account:
    """The provider refuses the account as a whole: nothing is sent until one more try is let through."""
    streak = account.streak + 1
    return account.model_copy(
        update={
            "refused_since": account.refused_since or now,
            "not_before": now + backoff_ms(streak, waiting.first_s, waiting.rng),
            "streak": streak,
            "refusal": refusal,
        }
    )
