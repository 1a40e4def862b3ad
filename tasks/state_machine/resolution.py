"""Pure: what a person decides about a held operation, and what it is decided by."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.change_set import Changes
from tasks.ledger.records import Account, Cluster, Operation, Request, State
from tasks.state_machine import next_step
from tasks.state_machine.decision import NotTaken
from tasks.state_machine.refusal import Waiting, refuse

AT_ONCE = Waiting(first_s=0.0, rng=random.Random(0))


class CannotResolve(ValueError):  # noqa: N818 - says what cannot be done
    """The decision does not fit what is known; the text says why and what would fit."""


def adopt(
    operation: Operation,
    requests: Sequence[Request],
    cluster: Cluster,
    owners: Mapping[str, str],
    *,
    job_id: str,
    by: str,
    why: str | None,
    now: int,
) -> Changes:
    """The job is this operation's; it is followed from now on. `owners`: operations by known job.

    Raises CannotResolve if the operation is not held, or the job is another's.
    """
    _check_held(operation)
    owner = owners.get(job_id)
    if owner is not None and owner != operation.operation_id:
        raise CannotResolve(
            f"job {job_id} belongs to operation {owner}, and a job has one operation for good"
        )
    found = operation.model_copy(update={"job_id": job_id})
    told_as = next_step.event("operation_adopted", found, by=by, why=why)
    return next_step.started(operation, requests, cluster, job_id=job_id, look_at=now, told_as=told_as)


def never_happened(
    operation: Operation,
    requests: Sequence[Request],
    cluster: Cluster,
    account: Account,
    *,
    by: str,
    why: str | None,
    now: int,
) -> Changes:
    """The provider never took it: its nodes are asked for again. Raises CannotResolve if it is not held."""
    _check_held(operation)
    decided = NotTaken(f"{by} has decided that it never happened" + (f": {why}" if why else ""))
    changes = refuse(
        operation,
        requests,
        cluster,
        account,
        decided,
        now=now,
        waiting=AT_ONCE,
        as_state=State.ABSENT,
    )
    changes.tell(next_step.event("operation_resolved", operation, by=by, why=why, decision="never happened"))
    return changes


def evidence_of(operation: Operation, held_since: int | None) -> dict[str, Any]:
    """What was sent and when, what was there before, and what may have come of it."""
    return {
        "operation_id": operation.operation_id,
        "state": operation.state.value,
        "held_since": None if held_since is None else timestamp(held_since),
        "because": operation.held_because,
        "cluster_id": operation.cluster_id,
        "zone": operation.zone,
        "sent_at": None if operation.sent_at is None else timestamp(operation.sent_at),
        "sent": None if operation.body is None else json.loads(operation.body),
        "node_count": operation.node_count,
        "answer": None if operation.doubt is None else operation.doubt.reason,
        "job_id": operation.job_id,
        "baseline": None if operation.baseline is None else list(operation.baseline),
        "candidates": [
            {
                **candidate.model_dump(exclude={"created_at"}),
                "created_at": None if candidate.created_at is None else timestamp(candidate.created_at),
                "nodes": len(candidate.node_ids),
            }
            for candidate in operation.candidates
        ],
        "requests": {part.request_id: part.node_count for part in operation.allocations},
    }


def _check_held(operation: Operation) -> None:
    if operation.state is not State.HELD:
        raise CannotResolve(
            f"operation {operation.operation_id} is {operation.state}, not held: nothing to decide"
        )
