"""PURE: an operator decides about a held operation. Times in ms."""

import random
from collections.abc import Mapping

from tasks.ledger.change_set import ChangeSet
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine.acceptance import accept
from tasks.state_machine.backoff import BackoffPolicy
from tasks.state_machine.decision import ProvenNotExecuted
from tasks.state_machine.refusal import refuse

NO_WAIT = BackoffPolicy(first_s=0.0, rng=random.Random(0))


class CannotResolve(ValueError):  # noqa: N818 - says what cannot be done
    """The decision does not fit what is known; the text says why and what would fit."""


def adopt(
    snapshot: OperationSnapshot,
    owners: Mapping[str, str],
    *,
    job_id: str,
    by: str,
    reason: str | None,
    now: int,
) -> ChangeSet:
    """Assign the job to the held operation; it is polled from now on.

    Args:
        owners: the operation that owns each known job of the cluster.

    Raises:
        CannotResolve: the operation is not held, or the job is another's.
    """
    operation = snapshot.operation
    _check_held(operation)
    owner = owners.get(job_id)
    if owner is not None and owner != operation.operation_id:
        raise CannotResolve(
            f"job {job_id} belongs to operation {owner}, and a job has one operation for good"
        )
    found = operation.model_copy(update={"job_id": job_id})
    event = found.event("operation_adopted", by=by, reason=reason)
    return accept(operation, snapshot.served, snapshot.cluster, job_id=job_id, poll_at=now, event=event)


def not_executed(snapshot: OperationSnapshot, *, by: str, reason: str | None, now: int) -> ChangeSet:
    """Return the nodes of a held operation to demand: the provider never executed it.

    Raises:
        CannotResolve: the operation is not held.
    """
    operation = snapshot.operation
    _check_held(operation)
    why = f": {reason}" if reason else ""
    decided = ProvenNotExecuted(f"{by} has decided that it was not executed{why}")
    changes = refuse(snapshot, decided, now=now, backoff=NO_WAIT, state=State.NOT_EXECUTED)
    changes.record(operation.event("operation_resolved", by=by, reason=reason, decision="not_executed"))
    return changes


def _check_held(operation: Operation) -> None:
    if operation.state is not State.HELD:
        raise CannotResolve(
            f"operation {operation.operation_id} is {operation.state}, not held: nothing to decide"
        )
