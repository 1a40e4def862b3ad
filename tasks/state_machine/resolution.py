"""PURE: an operator decides about an operation. Times in ms."""

import random
from collections.abc import Sequence
from dataclasses import replace

from tasks.ledger.change_entries import DisownJob
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine.acceptance import accept
from tasks.state_machine.backoff import BackoffPolicy
from tasks.state_machine.decision import ProvenNotExecuted
from tasks.state_machine.reconciliation import stop_polling
from tasks.state_machine.refusal import refuse
from tasks.state_machine.states import move

DECIDABLE = frozenset({State.HELD, State.IN_DOUBT, State.RUNNING})
NO_WAIT = BackoffPolicy(first_s=0.0, rng=random.Random(0))


class CannotResolve(ValueError):  # noqa: N818 - says what cannot be done
    """The decision does not fit what is known; the text says why and what would fit."""


def adopt(
    snapshot: OperationSnapshot,
    owner: str | None,
    *,
    job_id: str,
    by: str,
    reason: str | None,
    now: int,
    overruled: Sequence[str] = (),
) -> ChangeSet:
    """Assign the job to the operation; it is polled from now on.

    If it is the operation's job already, the operation ends with what the provider shows of it.

    Args:
        owner: the operation that the job is known to belong to.
        overruled: what spoke against it, as sentences for the history.

    Raises:
        CannotResolve: there is nothing to decide about the operation, or the job is another's.
    """
    operation = _held(snapshot.operation)
    if owner not in (None, operation.operation_id):
        raise CannotResolve(
            f"job {job_id} belongs to operation {owner}, and a job has one operation for good"
        )
    found = operation.model_copy(update={"job_id": job_id, "insisted": operation.job_id == job_id})
    fields = _fields(by, reason, overruled)
    if operation.job_id not in (None, job_id):
        fields["instead_of"] = operation.job_id
    event = found.event("operation_adopted", "info", **fields)
    changes = accept(found, snapshot.served, snapshot.cluster, job_id=job_id, poll_at=now, event=event)
    if operation.job_id != job_id:
        stop_polling(changes, operation)
        _disown(changes, operation)
    return changes


def not_executed(
    snapshot: OperationSnapshot, *, by: str, reason: str | None, now: int, overruled: Sequence[str] = ()
) -> ChangeSet:
    """Return the nodes of an operation to demand: the provider never executed it.

    Args:
        overruled: what spoke against it, as sentences for the history.

    Raises:
        CannotResolve: there is nothing to decide about the operation.
    """
    operation = _held(snapshot.operation)
    why = f": {reason}" if reason else ""
    decided = ProvenNotExecuted(f"{by} has decided that it was not executed{why}")
    decidable = replace(snapshot, operation=operation)
    changes = refuse(decidable, decided, now=now, backoff=NO_WAIT, state=State.NOT_EXECUTED)
    fields = _fields(by, reason, overruled)
    changes.record(operation.event("operation_resolved", "info", decision="not_executed", **fields))
    _disown(changes, operation)
    return changes


def demand_unmoved(operation: Operation, checked: Operation) -> None:
    """Raise CannotResolve if more is known of the operation than when the decision was checked."""
    if _known(operation) != _known(checked):
        name, job = operation.operation_id, "" if operation.job_id is None else f" as job {operation.job_id}"
        raise CannotResolve(
            f"operation {name} has moved on meanwhile: it is {operation.state}{job}; look at it again"
        )


def _known(operation: Operation) -> tuple[object, ...]:
    return operation.state, operation.job_id, sorted(one.job_id for one in operation.candidates)


def _fields(by: str, reason: str | None, overruled: Sequence[str]) -> dict[str, object]:
    """Return what the history says of a decision."""
    fields: dict[str, object] = {"by": by, "reason": reason}
    return {**fields, "overruled": list(overruled)} if overruled else fields


def _disown(changes: ChangeSet, operation: Operation) -> None:
    """Give up a job that the operation has by an earlier decision, which was wrong."""
    if operation.job_id is not None and operation.doubt is not None:
        changes.add(DisownJob(operation.cluster_id, operation.job_id, operation.operation_id))


def _held(operation: Operation) -> Operation:
    """Return the operation held: what an operator decides about is not decided by the log any more."""
    match operation.state:
        case State.HELD:
            return operation
        case State.IN_DOUBT | State.RUNNING:
            return move(operation, State.HELD)
        case State.PLANNED:
            remedy = "nothing was sent for it: cancel its requests instead"
        case State.SUBMITTING:
            remedy = "its response is awaited: try again in a minute"
        case State.NOT_EXECUTED:
            remedy = (
                "its nodes were requested again, so that no job can be its own any more: delete the nodes of "
                "a job that was found later at the provider, or cancel the request"
            )
        case _:
            remedy = "it has ended, and there is nothing to decide"
    raise CannotResolve(f"operation {operation.operation_id} is {operation.state}: {remedy}")
