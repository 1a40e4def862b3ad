"""Pure: what follows for an operation from what came back. Times in ms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.ledger.change_set import Changes, Event, Level
from tasks.ledger.due import Due, DueKind
from tasks.ledger.records import (
    Allocation,
    Candidate,
    Cluster,
    Doubt,
    Operation,
    Refusal,
    Request,
    State,
)
from tasks.ledger.usage_counters import bought_after_all
from tasks.state_machine.request_outcome import expire_request, write_request

A_DAY_MS = 86_400_000


def event(name: str, operation: Operation, level: Level = "info", **fields: object) -> Event:
    """An event about an operation, with what every such line carries."""
    about = {
        "operation_id": operation.operation_id,
        "job_id": operation.job_id,
        "cluster_id": operation.cluster_id,
        "zone": operation.zone,
        "node_count": operation.node_count,
    }
    return Event(name, level, requests=operation.request_ids, fields={**about, **fields})


def still_wanted(operation: Operation, requests: Mapping[str, Request], now: int) -> tuple[Allocation, ...]:
    """The allocations of requests that are neither cancelled nor expired."""
    return tuple(
        allocation
        for allocation in operation.allocations
        if (request := requests.get(allocation.request_id)) is not None
        and not request.ended
        and not request.cancelled
        and request.deadline_at > now
    )


def submitting(
    operation: Operation,
    requests: Mapping[str, Request],
    wanted: tuple[Allocation, ...],
    *,
    baseline: Sequence[str],
    listed_since: int,
    body: bytes,
    sent_at: int,
    now: int,
    lease_ms: int,
) -> Changes:
    """Written before the sending: whoever finds this later knows that it may have been sent."""
    sending = operation.model_copy(
        update={
            "state": State.SUBMITTING,
            "baseline": tuple(baseline),
            "listed_since": listed_since,
            "allocations": wanted,
            "body": body.decode(),
            "sent_at": sent_at,
        }
    )
    changes = Changes(sends=True)
    changes.put(sending)
    changes.due[due_of(operation)] = None
    changes.due[due_of(sending)] = now + lease_ms
    kept = set(sending.request_ids)
    for request in requests.values():
        if request.request_id in kept:
            changes.put(with_share(request, operation, state=State.SUBMITTING, submitted_at=sent_at))
        else:
            drop(changes, request, operation, now)
    return changes


def abandon(operation: Operation, requests: Mapping[str, Request], cluster: Cluster, now: int) -> Changes:
    """Nothing was sent and nobody wants it any more."""
    changes = Changes()
    abandoned = operation.model_copy(update={"state": State.ABANDONED, "finished_at": now})
    changes.put(abandoned)
    changes.expire.append(abandoned)
    for request in requests.values():
        drop(changes, request, operation, now)
    open_gate(changes, operation, cluster, now)
    changes.tell(event("operation_abandoned", operation))
    return changes


def try_again(operation: Operation, *, at: int, reason: Refusal) -> Changes:
    """Nothing was sent yet: stay planned and look again at `at`."""
    changes = Changes()
    changes.put(operation.model_copy(update={"tries": operation.tries + 1, "refusal": reason}))
    changes.due[due_of(operation)] = at
    return changes


def started(
    operation: Operation,
    requests: Sequence[Request],
    cluster: Cluster,
    *,
    job_id: str,
    look_at: int,
    told_as: Event | None = None,
) -> Changes:
    """The provider has taken it, as `job_id`. `told_as` is for a job that was found, not answered."""
    running = operation.model_copy(
        update={"state": State.RUNNING, "job_id": job_id, "held_because": None, "verdict": None}
    )
    changes = Changes()
    changes.put(running)
    changes.put(cluster.model_copy(update={"zone": operation.zone, "streak": 0, "waits_for": None}))
    own_job(changes, operation, cluster, job_id)
    changes.due[due_of(operation)] = None
    changes.held[operation.operation_id] = None
    changes.running.append((operation.zone, job_id, operation.operation_id, operation.sent_at or 0))
    # Where others run, the next look answers for this one too: one more for each that is new would use up
    # the calls of all.
    changes.unless_due[Due(DueKind.ZONE, operation.zone)] = look_at
    for request in requests:
        changed = with_share(request, operation, state=State.RUNNING, job_id=job_id)
        changes.put(changed.model_copy(update={"streak": 0}))
    changes.tell(told_as or event("operation_submitted", running, sent_at=operation.sent_at))
    return changes


def own_job(changes: Changes, operation: Operation, cluster: Cluster, job_id: str) -> None:
    """From now on no other operation can take this job for its own.

    What no baseline reaches back to is forgotten.
    """
    sent_at = operation.sent_at or operation.planned_at
    changes.jobs.append((operation.cluster_id, job_id, operation.operation_id, sent_at))
    changes.forget_jobs[operation.cluster_id] = min(sent_at, cluster.doubt_since or sent_at) - A_DAY_MS


def doubt(operation: Operation, requests: Sequence[Request], cluster: Cluster, what: Doubt) -> Changes:
    """It was sent, or may have been, and nobody knows whether the provider took it."""
    changes = Changes()
    changes.put(operation.model_copy(update={"state": State.IN_DOUBT, "doubt": what}))
    if cluster.doubt_since is None:
        # Its job may show up whenever it likes: every later baseline has to reach back to here.
        changes.put(cluster.model_copy(update={"doubt_since": operation.sent_at}))
    changes.due[due_of(operation)] = what.since
    _set_shares(changes, operation, requests, State.IN_DOUBT)
    changes.tell(
        event(
            "operation_in_doubt",
            operation,
            "warning",
            reason=what.reason,
            http_status=what.http_status,
            ret_code=what.ret_code,
            sent_at=operation.sent_at,
        )
    )
    return changes


def keep_in_doubt(
    operation: Operation, *, at: int, candidates: Sequence[Candidate], absent_since: int | None
) -> Changes:
    """Not settled yet: look again at `at`, and remember what was seen."""
    changes = Changes()
    seen = {"candidates": tuple(candidates), "absent_since": absent_since, "tries": 0, "refusal": None}
    changes.put(operation.model_copy(update=seen))
    changes.due[due_of(operation)] = at
    return changes


def hold(operation: Operation, requests: Sequence[Request], *, because: str, now: int) -> Changes:
    """Nothing here can decide it: a person has to. The gate stays shut."""
    changes = Changes()
    changes.put(operation.model_copy(update={"state": State.HELD, "held_because": because}))
    changes.due[due_of(operation)] = None
    changes.held[operation.operation_id] = now
    stop_following(changes, operation)
    _set_shares(changes, operation, requests, State.HELD)
    changes.tell(event("operation_held", operation, "error", because=because))
    return changes


def answered_too_late(operation: Operation, cluster: Cluster, *, job_id: str, now: int) -> Changes:
    """The provider names a job for an operation that has been settled otherwise: that was wrong.

    An ended operation stays as it is, but the job is its own for good, and its requests' history tells of
    it. One that runs as another job is held: only a person can say what that other job is.
    """
    changes = Changes()
    changes.put(cluster)
    own_job(changes, operation, cluster, job_id)
    changes.tell(event("late_answer", operation, "error", answered_job_id=job_id, state=operation.state))
    if operation.ended:
        changes.entries += bought_after_all(operation, job_id, now)
        return changes
    because = f"it was taken for job {operation.job_id}, but the provider's own answer says {job_id}"
    update = {"state": State.HELD, "held_because": because, "verdict": None}
    changes.put(operation.model_copy(update=update))
    changes.due[due_of(operation)] = None
    changes.held[operation.operation_id] = now
    stop_following(changes, operation)
    changes.tell(event("operation_held", operation, "error", because=because))
    return changes


def drop(changes: Changes, request: Request, operation: Operation, now: int) -> None:
    """The request takes no nodes of an operation that was not sent: it has ended, or ends now."""
    left = without_share(request, operation)
    if left.ended or left.cancelled or left.deadline_at > now:
        write_request(changes, left, now)
    else:
        expire_request(changes, left, now)


def stop_following(changes: Changes, operation: Operation) -> None:
    """Its job, if it has one, is no longer looked for in the zone's log."""
    if operation.job_id is not None:
        changes.running.append((operation.zone, operation.job_id, operation.operation_id, None))


def open_gate(changes: Changes, operation: Operation, cluster: Cluster, now: int) -> None:
    """The operation is over: the next one may change the cluster."""
    changes.put(cluster.model_copy(update={"gate": None, "changed_at": now}))
    changes.due[due_of(operation)] = None
    changes.held[operation.operation_id] = None
    changes.wake[cluster.cluster_id] = max(now, cluster.not_before)


def _set_shares(changes: Changes, operation: Operation, requests: Sequence[Request], state: State) -> None:
    for request in requests:
        changes.put(with_share(request, operation, state=state))


def without_share(request: Request, operation: Operation) -> Request:
    """The request without its share in an operation that started no job; its history tells of it."""
    shares = tuple(share for share in request.shares if share.operation_id != operation.operation_id)
    return request.model_copy(update={"shares": shares})


def with_share(request: Request, operation: Operation, **update: object) -> Request:
    """The request with its share in `operation` changed."""
    shares = tuple(
        share.model_copy(update=update) if share.operation_id == operation.operation_id else share
        for share in request.shares
    )
    return request.model_copy(update={"shares": shares})


def due_of(operation: Operation) -> Due:
    """The entry of the due set that brings the operation up."""
    kind = DueKind.SUBMISSION if operation.state is State.PLANNED else DueKind.OPERATION
    return Due(kind, operation.operation_id)
