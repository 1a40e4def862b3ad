"""Finishes an operation whose job has ended, by listNodes where the log does not name its nodes."""

from tasks.ehpc.errors import EhpcError, Rejected
from tasks.ehpc.listing import Listing
from tasks.ehpc.models import NodeRow
from tasks.handlers.context import Context
from tasks.handlers.provider_calls import Deferred, defer_after_error, list_cluster_nodes
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.record_values import JobResult, State
from tasks.ledger.records import Operation
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine.completion import finish, note_job_result
from tasks.state_machine.node_arrivals import needs_listing, nodes_that_came
from tasks.state_machine.reconciliation import hold
from tasks.state_machine.submission import retry_later


async def finish_job(ctx: Context, snapshot: OperationSnapshot, result: JobResult) -> None:
    """Finish an operation whose job has ended by the log, or have its nodes counted first."""
    known: OperationSnapshot | None = snapshot
    operation_id = snapshot.operation.operation_id

    async def build() -> ChangeSet | None:
        nonlocal known
        current, known = known or await ctx.ledger.operation_snapshot(operation_id), None
        if current is None or current.operation.state is not State.RUNNING:
            return None
        operation, now = current.operation, ctx.clock.now_ms()
        if operation.job_result is not None:
            return None
        if needs_listing(operation, result) or await _names_nodes_of_others(ctx, operation, result):
            return note_job_result(operation, result, now, round(ctx.settings.log_lag_s * 1000))
        ids = result.node_ids[: operation.node_count]
        return finish(current, result, nodes_added=operation.node_count, node_ids=ids, now=now)

    await ctx.ledger.transact(build)


async def _names_nodes_of_others(ctx: Context, operation: Operation, result: JobResult) -> bool:
    """Return whether the log names nodes that an earlier outcome has, or may have: they are counted then.

    A record that cannot be read must not stop the other jobs of a poll.
    """
    if not result.node_ids:
        return False
    others = await ctx.ledger.unless_unreadable(_nodes_of_others(ctx, operation))
    return others is None or not others.isdisjoint(result.node_ids)


async def count_nodes(ctx: Context, operation: Operation) -> None:
    """List the cluster's nodes, and finish. A listing that fails is repeated later."""
    try:
        listing = await list_cluster_nodes(ctx, operation.zone, operation.cluster_id)
    except Deferred as deferred:
        await ctx.ledger.commit(retry_later(operation, at=deferred.until, reason=deferred.reason))
        return
    except EhpcError as error:
        await _listing_failed(ctx, operation, error)
        return
    await _finish(ctx, operation, listing)


async def _finish(ctx: Context, operation: Operation, listing: Listing[NodeRow]) -> None:
    others = await _nodes_of_others(ctx, operation)
    uncountable: EhpcError | None = None

    async def build() -> ChangeSet | None:
        nonlocal uncountable
        current = await ctx.ledger.operation_snapshot(operation.operation_id)
        if current is None or current.operation.state is not State.RUNNING:
            return None
        if (result := current.operation.job_result) is None:
            return None
        ids = nodes_that_came(current.operation, result, listing.rows, others)
        if listing.flaws and len(ids) < operation.node_count and not current.operation.insisted:
            uncountable = EhpcError(f"the list of its nodes proves nothing: {listing.flaws[0]}")
            return None
        return finish(current, result, nodes_added=len(ids), node_ids=ids, now=ctx.clock.now_ms())

    await ctx.ledger.transact(build)
    if uncountable is not None:
        await _listing_failed(ctx, operation, uncountable)


async def _nodes_of_others(ctx: Context, operation: Operation) -> set[str]:
    """Return the nodes of the cluster's other operations of the last day: a node has one outcome."""
    owners = set((await ctx.ledger.jobs(operation.cluster_id)).values()) - {operation.operation_id}
    found = await ctx.ledger.operations(owners) if owners else {}
    return {node_id for other in found.values() for node_id in other.node_ids}


async def _listing_failed(ctx: Context, operation: Operation, error: EhpcError) -> None:
    """Repeat the listing later. Hold the operation instead if it is refused permanently and no request waits
    for it, or if it is overdue: nobody can tell which nodes came.
    """
    snapshot, now = await ctx.ledger.operation_snapshot(operation.operation_id), ctx.clock.now_ms()
    if snapshot is None:
        return
    permanent = isinstance(error, Rejected) and not snapshot.has_time_left(now)
    if permanent and snapshot.operation.insisted:
        await _finish(ctx, operation, Listing[NodeRow]())
        return
    if permanent or (snapshot.is_overdue(now) and not ctx.clocks_disagree):
        cluster_id = operation.cluster_id
        reason = f"job {operation.job_id} has ended, but the nodes of {cluster_id} cannot be listed: {error}"
        changes = hold(snapshot.operation, snapshot.served, reason=reason, now=now)
        if await ctx.ledger.commit(changes) is CommitResult.OK:
            return
    later = await defer_after_error(ctx, error, operation.attempts)
    await ctx.ledger.commit(retry_later(operation, at=later.until, reason=later.reason))
