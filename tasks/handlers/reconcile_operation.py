"""Reconciles operations in doubt: lists the cluster's jobs, decides, and writes the decision."""

from dataclasses import dataclass, field

from tasks.ehpc.errors import EhpcError, InDoubt, Rejected
from tasks.ehpc.listing import Listing
from tasks.ehpc.models import JobRow
from tasks.handlers.context import Context
from tasks.handlers.decision_rules import rules_of, shows_our_action
from tasks.handlers.provider_calls import (
    Deferred,
    defer_after_error,
    list_cluster_jobs,
    list_cluster_nodes,
    reserve,
)
from tasks.handlers.record_response import record_response
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation
from tasks.quota.priorities import CallPriority
from tasks.runtime.clock import time_then
from tasks.state_machine.acceptance import accept
from tasks.state_machine.decision import (
    Adopt,
    Hold,
    NeedsNodeCount,
    NeedsZoneListing,
    NotExecuted,
    ProvenNotExecuted,
    RetryAt,
    candidates_of,
    clock_flaws,
    decide,
    evidence,
    hides,
    vanished,
)
from tasks.state_machine.node_arrivals import CLOCK_MARGIN_MS, nodes_made
from tasks.state_machine.reconciliation import hold, stay_in_doubt
from tasks.state_machine.refusal import refuse
from tasks.state_machine.submission import retry_later

PROOF = "the operation log proves that it was not executed"


async def expire_lease(ctx: Context, operation: Operation) -> None:
    """Move an operation to in doubt when its sender's lease has expired: it may have been sent."""
    response = InDoubt("the worker that was sending it died or was stopped")
    await record_response(ctx, operation.operation_id, response)


async def reconcile(ctx: Context, operation: Operation) -> None:
    """List the cluster's jobs once and decide about an operation; a failed listing decides nothing."""
    since, began, listing = operation.shown_since, ctx.clock.monotonic_ms(), Listing[JobRow]()
    try:
        if since is not None:
            grant = await reserve(ctx, CallPriority.RECONCILE)
            listing = await list_cluster_jobs(
                ctx, operation.zone, operation.cluster_id, since, CallPriority.RECONCILE, grant
            )
    except Deferred as deferred:
        await ctx.ledger.commit(retry_later(operation, at=deferred.until, reason=deferred.reason))
        return
    except EhpcError as error:
        failed = error
        await ctx.ledger.transact(lambda: _listing_failed(ctx, operation.operation_id, failed))
        return
    seen = Seen(time_then(ctx.clock, began), listing)
    await ctx.ledger.transact(lambda: _decided(ctx, operation.operation_id, seen))


@dataclass(slots=True)
class Seen:
    """What the provider has shown in one reconciliation.

    Fields:
        listed_at: when the listing began.
        nodes_made: by job id, how many nodes were made while it ran.
        action_seen: the zone's log shows a job under our action name; None before it was listed.
    """

    listed_at: int
    listing: Listing[JobRow] = field(default_factory=Listing)
    nodes_made: dict[str, int] = field(default_factory=dict)
    action_seen: bool | None = None


async def _decided(ctx: Context, operation_id: str, seen: Seen) -> ChangeSet | None:
    # The cluster before its jobs: a step that gives one of them to another operation moves its version.
    snapshot = await ctx.ledger.operation_snapshot(operation_id)
    if snapshot is None or snapshot.operation.state is not State.IN_DOUBT:
        return None
    operation, now = snapshot.operation, ctx.clock.now_ms()
    listed = [row.job_id for row in seen.listing.rows] + [one.job_id for one in operation.candidates]
    owners = await ctx.ledger.job_owners(operation.cluster_id, listed)
    owned_by_others = [job_id for job_id, owner in owners.items() if owner != operation_id]
    candidates = candidates_of(operation, seen.listing.rows, owned_by_others)
    gone = vanished(operation, seen.listing.rows, owned_by_others)
    rows, skew_s = seen.listing.rows, seen.listing.skew_s
    rules = await rules_of(ctx, operation.zone, rows, action_seen=bool(seen.action_seen))
    decision = decide(
        operation,
        candidates,
        rules,
        # By the clock that is behind.
        listed_at=seen.listed_at + round(1000 * min(0.0, skew_s or 0.0)),
        flaws=[
            *seen.listing.flaws,
            *hides(gone),
            *clock_flaws(skew_s, ctx.clock.steady_ms(), operation.sent_at, rules),
        ],
        overdue=snapshot.is_overdue(now) and not ctx.clocks_disagree,
        nodes_counted=seen.nodes_made.get(candidates[0].job_id) if candidates else None,
        zone_listed=seen.action_seen is not None,
    )
    operation = operation.model_copy(update={"candidates": (*map(evidence, candidates), *gone)})
    match decision:
        case Adopt(job_id):
            found = operation.model_copy(update={"job_id": job_id})
            event = found.event("operation_adopted", by="the operation log")
            return accept(
                operation, snapshot.served, snapshot.cluster, job_id=job_id, poll_at=now, event=event
            )
        case NotExecuted():
            proof = ProvenNotExecuted(PROOF)
            return refuse(snapshot, proof, now=now, backoff=ctx.backoff, state=State.NOT_EXECUTED)
        case Hold(reason):
            return hold(operation, snapshot.served, reason=reason, now=now)
        case NeedsNodeCount() | NeedsZoneListing():
            try:
                if isinstance(decision, NeedsNodeCount):
                    made = await count_nodes_made(ctx, operation, decision.job, seen.listed_at)
                    seen.nodes_made[decision.job.job_id] = made
                else:
                    seen.action_seen = await shows_our_action(ctx, operation.zone)
            except Deferred as deferred:
                return retry_later(operation, at=deferred.until, reason=deferred.reason)
            except EhpcError as error:
                return await _listing_failed(ctx, operation_id, error)
            return await _decided(ctx, operation_id, seen)
        case RetryAt(at, absent_since):
            return stay_in_doubt(operation, at=at, candidates=operation.candidates, absent_since=absent_since)


async def count_nodes_made(ctx: Context, operation: Operation, job: JobRow, listed_at: int) -> int:
    """Return how many nodes of the operation's role were made while `job` ran."""
    listing = await list_cluster_nodes(ctx, operation.zone, operation.cluster_id, CallPriority.RECONCILE)
    if listing.flaws:
        raise EhpcError(f"the node list of cluster {operation.cluster_id} proves nothing: {listing.flaws[0]}")
    since, until = (operation.sent_at or 0) - CLOCK_MARGIN_MS, listed_at + CLOCK_MARGIN_MS
    if job.create_time is not None:
        since = round(job.create_time.timestamp() * 1000)
    if job.status_time is not None:
        until = round(job.status_time.timestamp() * 1000)
    return len(nodes_made(listing.rows, operation.node_role, since, until))


async def _listing_failed(ctx: Context, operation_id: str, error: EhpcError) -> ChangeSet | None:
    """Repeat a listing that failed. Hold what is refused permanently once no request waits, and all else
    once it is overdue.
    """
    snapshot = await ctx.ledger.operation_snapshot(operation_id)
    if snapshot is None or snapshot.operation.state is not State.IN_DOUBT:
        return None
    operation, now = snapshot.operation, ctx.clock.now_ms()
    overdue = snapshot.is_overdue(now) and not ctx.clocks_disagree
    if not snapshot.has_time_left(now) and (isinstance(error, Rejected) or overdue):
        reason = f"whether it was executed cannot be found out: {error}"
        return hold(operation, snapshot.served, reason=reason, now=now)
    deferred = await defer_after_error(ctx, error, operation.attempts)
    return retry_later(operation, at=deferred.until, reason=deferred.reason)
