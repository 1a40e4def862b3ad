"""PURE: an operation started no job: what that means for its requests, cluster and account. Times in ms."""

from tasks.ehpc.errors import (
    DENIED,
    AccountRefused,
    Busy,
    EhpcError,
    NotAccepted,
    NotSent,
    Rejected,
    Shortage,
)
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event
from tasks.ledger.record_values import Reason, State
from tasks.ledger.records import Account, Operation, Request
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine import circuit_breaker
from tasks.state_machine.backoff import BackoffPolicy
from tasks.state_machine.cluster_lock import release_cluster
from tasks.state_machine.reconciliation import stop_polling
from tasks.state_machine.request_outcome import enter_demand, leave_demand, write_request
from tasks.state_machine.states import move

CLUSTER_WAITS = (Busy, NotAccepted, NotSent)


def refuse(
    snapshot: OperationSnapshot,
    error: EhpcError,
    *,
    now: int,
    backoff: BackoffPolicy,
    state: State = State.REFUSED,
) -> ChangeSet:
    """End an operation of which nothing was made, and release its cluster.

    Its nodes return to demand or end their request, by the class of `error` and by what each request wants
    done about a shortage.

    Args:
        state: NOT_EXECUTED if it was not refused, but proven never to have been executed.
    """
    operation, cluster = snapshot.operation, snapshot.cluster
    reason = reason_of(error)
    refused = move(operation, state, reason=reason, finished_at=now)
    changes = ChangeSet()
    changes.write(refused)
    changes.expiring.append(refused)
    stop_polling(changes, operation)
    for request in snapshot.served:
        _refuse_request(changes, request, operation, error, reason, now, backoff)
    if isinstance(error, Rejected):
        cluster = circuit_breaker.failed(changes, cluster, operation, snapshot.served, str(error), now)
    update: dict[str, object] = {"wait_reason": None, "consecutive_failures": 0}
    if isinstance(error, CLUSTER_WAITS):
        failures = cluster.consecutive_failures + 1
        not_before = now + backoff.wait_ms(failures)
        update = {"wait_reason": reason, "consecutive_failures": failures, "not_before": not_before}
    release_cluster(changes, operation, cluster, now, **update)
    if isinstance(error, AccountRefused):
        changes.write(block_account(snapshot.account, reason, now, backoff))
        changes.record(account_blocked(snapshot.account, reason))
    alert = isinstance(error, AccountRefused) or (isinstance(error, Rejected) and error.alert)
    fields = {"kind": error.kind, "ret_code": error.ret_code, "message": str(error)}
    changes.record(refused.event(f"operation_{state.value}", "error" if alert else "warning", **fields))
    return changes


def as_busy(error: EhpcError) -> EhpcError:
    """Return a denial (1400) as a busy cluster: the log showed a change under way just before the call.

    The code has two meanings, and its message need not say which.
    """
    if not isinstance(error, Rejected) or error.ret_code != DENIED:
        return error
    return Busy(f"{error}; another change of the cluster was under way", ret_code=error.ret_code)


def reason_of(error: EhpcError) -> Reason:
    return Reason(kind=error.kind, message=str(error), code=error.ret_code)


def _refuse_request(
    changes: ChangeSet,
    request: Request,
    operation: Operation,
    error: EhpcError,
    reason: Reason,
    now: int,
    backoff: BackoffPolicy,
) -> None:
    nodes = request.assignment_in(operation.operation_id).node_count
    update = {"refusals": request.refusals + 1, "last_reason": reason}
    back = request.without_assignment(operation).model_copy(update=update)
    if back.ended or back.cancelled:
        write_request(changes, back, now)
        return
    unassigned = request.unassigned_nodes + nodes
    if isinstance(error, Rejected):
        back = back.model_copy(update={"unassigned_nodes": 0})
    elif isinstance(error, Shortage):
        shared = len(operation.allocations) > 1
        back = back.model_copy(update=_after_shortage(back, nodes, unassigned, shared, now, backoff))
    else:
        back = back.model_copy(update={"unassigned_nodes": unassigned})
    if back.unassigned_nodes:
        enter_demand(changes, back)
    elif request.unassigned_nodes:
        leave_demand(changes, request)
    write_request(changes, back, now)


def _after_shortage(
    request: Request, nodes: int, unassigned: int, shared: bool, now: int, backoff: BackoffPolicy
) -> dict[str, object]:
    """Return the fields of a request that change when the provider had too few nodes for `nodes` of it."""
    if shared:
        # Too few for all of them together says nothing about each.
        return {"unassigned_nodes": unassigned, "exclusive": True}
    match request.valid_spec.on_shortage:
        case "fail":
            return {"unassigned_nodes": 0}
        # Named nodes are bought in one call or not at all.
        case "partial" if nodes == 1 or request.valid_spec.exclusive:
            return {"unassigned_nodes": 0}
        case "partial":
            return {"unassigned_nodes": unassigned, "max_nodes_per_call": nodes // 2}
        case _:
            failures = request.consecutive_failures + 1
            return {
                "unassigned_nodes": unassigned,
                "consecutive_failures": failures,
                "not_before": now + backoff.wait_ms(failures),
            }


def account_blocked(account: Account, reason: Reason) -> Event:
    """Return the event that the provider blocks the account; only the first goes to the journal."""
    fields: dict[str, object] = {"ret_code": reason.code, "message": reason.message}
    return Event("account_blocked", "error", fields=fields, in_journal=account.blocked_since is None)


def block_account(account: Account, reason: Reason, now: int, backoff: BackoffPolicy) -> Account:
    """Return the account blocked: nothing is sent until one more attempt is let through."""
    failures = account.consecutive_failures + 1
    update = {
        "blocked_since": account.blocked_since or now,
        "not_before": now + backoff.wait_ms(failures),
        "consecutive_failures": failures,
        "reason": reason,
    }
    return account.model_copy(update=update)
