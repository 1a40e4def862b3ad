"""PURE: an operation is sent, postponed, or abandoned. Times in ms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tasks.ehpc.job_status import JobStatus
from tasks.ehpc.listing import Listing
from tasks.ehpc.models import JobRow
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.record_values import MAX_CLOCK_STEP_MS, Allocation, Reason, State
from tasks.ledger.records import Cluster, Operation, Request
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine.cluster_lock import release_cluster
from tasks.state_machine.decision import MAX_SKEW_MS
from tasks.state_machine.request_outcome import enter_demand, expire_request, write_request
from tasks.state_machine.states import move

# How many times the longest that a call may stay unseen its doubt is remembered.
DOUBT_KEPT = 20


@dataclass(frozen=True, slots=True)
class Baseline:
    """The cluster's jobs just before the call.

    Fields:
        since: how far back the listing reached.
        complete: it showed all jobs, as far as can be told.
        change_under_way: one of the jobs has not ended.
    """

    job_ids: Sequence[str]
    since: int
    complete: bool = True
    change_under_way: bool = False

    @classmethod
    def of(cls, listing: Listing[JobRow], since: int) -> Self:
        under_way = any(row.status is JobStatus.PENDING for row in listing.rows)
        return cls([row.job_id for row in listing.rows], since, not listing.flaws, under_way)

    def reaches_back(self, now: int, margin_ms: int) -> bool:
        """Return whether it reached back as far as a listing that begins now.

        It did not if it was listed by a clock that was ahead and has been set back since: what was there
        before the call was not shown then.
        """
        return self.since <= now - margin_ms - MAX_CLOCK_STEP_MS + MAX_SKEW_MS


def baseline_since(cluster: Cluster, now: int, margin_ms: int) -> int:
    """Return how far back the baseline reaches: the job of an earlier doubt may have appeared late.

    Args:
        margin_ms: how late a job may appear after its call was sent.
    """
    doubt = cluster.doubt_since
    since = min(now, doubt if doubt is not None and now - doubt <= DOUBT_KEPT * margin_ms else now)
    return since - margin_ms - MAX_CLOCK_STEP_MS


def still_wanted(operation: Operation, requests: Mapping[str, Request], now: int) -> tuple[Allocation, ...]:
    """Return the allocations of requests that are neither cancelled nor expired."""
    return tuple(
        allocation
        for allocation in operation.allocations
        if (request := requests.get(allocation.request_id)) is not None
        and not request.ended
        and not request.cancelled
        and request.deadline_at > now
    )


def submit(
    snapshot: OperationSnapshot,
    allocations: tuple[Allocation, ...],
    *,
    baseline: Baseline,
    body: bytes,
    sent_at: int,
    now: int,
    lease_ms: int,
) -> ChangeSet:
    """Write the operation as `submitting`, before it is sent: a later reader knows that it may have been.

    Args:
        allocations: what is still wanted of the operation's own.
        sent_at: the whole second that the call is signed with.
    """
    operation = snapshot.operation
    submitting = move(
        operation,
        State.SUBMITTING,
        baseline=tuple(baseline.job_ids),
        baseline_complete=baseline.complete,
        change_under_way=baseline.change_under_way,
        listed_since=baseline.since,
        allocations=allocations,
        body=body.decode(),
        sent_at=sent_at,
    )
    changes = ChangeSet(sends=True)
    changes.write(submitting)
    changes.schedule(operation.due, None)
    changes.schedule(submitting.due, now + lease_ms)
    # A pause that is committed before this step wins.
    changes.expected.extend(snapshot.pauses.records)
    served = set(submitting.request_ids)
    for request in snapshot.requests.values():
        if request.request_id in served:
            changes.write(request.with_assignment(submitting, submitted_at=sent_at))
        else:
            _drop(changes, request, operation, now)
    return changes


def retry_later(operation: Operation, *, at: int, reason: Reason) -> ChangeSet:
    """Bring the operation up again at `at`, in the state that it has."""
    changes = ChangeSet()
    changes.write(operation.model_copy(update={"attempts": operation.attempts + 1, "reason": reason}))
    changes.schedule(operation.due, at)
    return changes


def abandon(operation: Operation, requests: Mapping[str, Request], cluster: Cluster, now: int) -> ChangeSet:
    """Abandon an operation that was not sent and that no request wants any more."""
    changes, abandoned = _abandoned(operation, cluster, now)
    for request in requests.values():
        _drop(changes, request, operation, now)
    changes.record(abandoned.event("operation_abandoned"))
    return changes


def take_back(operation: Operation, requests: Mapping[str, Request], cluster: Cluster, now: int) -> ChangeSet:
    """Abandon an operation whose plan is outdated; its nodes return to demand, at their old place."""
    changes, abandoned = _abandoned(operation, cluster, now)
    # From a ledger with data missing nothing is sent, so that there is nothing to plan again for.
    changes.sends = True
    wanted = {part.request_id for part in still_wanted(operation, requests, now)}
    for request in requests.values():
        if request.request_id not in wanted:
            _drop(changes, request, operation, now)
            continue
        nodes = request.assignment_in(operation.operation_id).node_count
        left = request.without_assignment(operation)
        back = left.model_copy(update={"unassigned_nodes": left.unassigned_nodes + nodes})
        enter_demand(changes, back)
        changes.write(back)
    planned_s = (now - operation.planned_at) // 1000
    changes.record(abandoned.event("operation_abandoned", reason=f"planned {planned_s} s ago"))
    return changes


def _abandoned(operation: Operation, cluster: Cluster, now: int) -> tuple[ChangeSet, Operation]:
    changes = ChangeSet()
    abandoned = move(operation, State.ABANDONED, finished_at=now)
    changes.write(abandoned)
    changes.expiring.append(abandoned)
    release_cluster(changes, operation, cluster, now)
    return changes, abandoned


def _drop(changes: ChangeSet, request: Request, operation: Operation, now: int) -> None:
    """Take the request out of an operation that was not sent; it has ended, or ends now."""
    left = request.without_assignment(operation)
    if left.ended or left.cancelled or left.deadline_at > now:
        write_request(changes, left, now)
    else:
        expire_request(changes, left, now)
