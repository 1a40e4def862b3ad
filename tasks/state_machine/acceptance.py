"""PURE: the provider has accepted an operation as a job. Times in ms."""

from collections.abc import Sequence

from tasks.ledger.change_entries import Index, Listed, OwnJob, PollJob
from tasks.ledger.change_set import ChangeSet, DueRule
from tasks.ledger.due import Due, DueKind
from tasks.ledger.events import Event
from tasks.ledger.record_values import Doubt, State
from tasks.ledger.records import Cluster, Operation, Request
from tasks.ledger.snapshots import OperationSnapshot
from tasks.ledger.usage_counters import of_late_job
from tasks.state_machine.reconciliation import DAY_MS, hold
from tasks.state_machine.states import move

# What the step that a call is sent for has written.
SENT_FIELDS = ("sent_at", "body", "baseline", "baseline_complete", "change_under_way", "listed_since")


def accept(
    operation: Operation,
    requests: Sequence[Request],
    cluster: Cluster,
    *,
    job_id: str,
    poll_at: int,
    event: Event | None = None,
) -> ChangeSet:
    """Have the operation run as `job_id`.

    Args:
        poll_at: when its zone is polled, if it is not polled anyway.
        event: for a job that was found; without it the provider's response named the job.
    """
    running = move(operation, State.RUNNING, job_id=job_id, held_reason=None, job_result=None)
    if event is None:
        # It is no adopted job, which an operator may give up again.
        running = running.model_copy(update={"doubt": None})
    changes = ChangeSet()
    changes.write(running)
    update = {"zone": operation.zone, "consecutive_failures": 0, "wait_reason": None}
    changes.write(cluster.model_copy(update=update))
    changes.add(own_job(operation, cluster, job_id))
    changes.schedule(operation.due, None)
    changes.add(Listed(Index.HELD, operation.operation_id, None))
    changes.add(PollJob(operation.zone, job_id, operation.operation_id, operation.sent_at or 0))
    # Where others run, the next poll covers this one too: a poll for each new job would use up the calls.
    changes.schedule(Due(DueKind.ZONE, operation.zone), poll_at, DueRule.IF_ABSENT)
    for request in requests:
        changes.write(request.with_assignment(running).model_copy(update={"consecutive_failures": 0}))
    changes.record(event or running.event("operation_submitted", sent_at=operation.sent_at))
    return changes


def own_job(operation: Operation, cluster: Cluster, job_id: str) -> OwnJob:
    """Return the entry that makes the job the operation's, permanently.

    Jobs that no baseline reaches back to are forgotten.
    """
    sent_at = operation.sent_at or operation.planned_at
    doubt = cluster.doubt_since or sent_at
    forget_before = (doubt if 0 < sent_at - doubt < DAY_MS else sent_at) - DAY_MS
    return OwnJob(operation.cluster_id, job_id, operation.operation_id, sent_at, forget_before)


def late_response(snapshot: OperationSnapshot, *, job_id: str, now: int) -> ChangeSet:
    """Record a job that the provider names for an operation that was decided otherwise.

    An ended operation stays as it is, but the job is its own for good. One that runs as another job is held:
    only an operator can say what that other job is.
    """
    operation, cluster = snapshot.operation, snapshot.cluster
    event = operation.event("late_response", "error", response_job_id=job_id, state=operation.state)
    if operation.ended:
        changes = ChangeSet()
        changes.add(*of_late_job(operation, job_id, now))
    else:
        reason = f"it was adopted as job {operation.job_id}, but the provider's response names {job_id}"
        changes = hold(operation, snapshot.served, reason=reason, now=now)
    changes.write(cluster)
    changes.add(own_job(operation, cluster, job_id))
    changes.events.insert(0, event)
    return changes


def hold_as_sent(
    snapshot: OperationSnapshot, sent: Operation | None, *, job_id: str | None, response: str, now: int
) -> ChangeSet:
    """Hold an operation that is `planned` here, though it was sent: the ledger has lost that step.

    Args:
        sent: as it was written before the call, if the caller knows that.
        job_id: the job that the response names, which is the operation's own for good.
    """
    known = SENT_FIELDS if sent is not None else ()
    update = {name: getattr(sent, name) for name in known} | {"job_id": job_id}
    if job_id is None:
        update["doubt"] = Doubt(since=now, reason=response)
    operation = snapshot.operation.model_copy(update=update)
    reason = f"the ledger has lost that it was sent; the response was: {response}"
    changes = hold(operation, snapshot.served, reason=reason, now=now)
    changes.write(snapshot.cluster)
    if job_id is not None:
        changes.add(own_job(operation, snapshot.cluster, job_id))
    return changes
