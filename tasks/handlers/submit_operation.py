"""Sends a planned operation, once: list the baseline, write it as `submitting`, send, record the response."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog
from redis.exceptions import RedisError

from config.timestamps import utc_second
from tasks.ehpc.actions import add_nodes_body
from tasks.ehpc.errors import NO_SUCH_RESOURCE, EhpcError, InDoubt, NotSent, UnclearQuota
from tasks.ehpc.models import JobAccepted
from tasks.handlers.apply_pause import park_while_paused
from tasks.handlers.clock_checks import CLOCK_SET, TIME_UNCERTAIN, until_settled, wait_while_clocks_differ
from tasks.handlers.context import SKEW_RETRY_MS, Context
from tasks.handlers.lost_calls import (
    SETTLING,
    SETTLING_RETRY_MS,
    blocked_by_ledger,
    check_for_lost_calls,
    lost_calls_since,
)
from tasks.handlers.provider_calls import (
    Deferred,
    call_with_grant,
    defer_after_error,
    list_cluster_jobs,
    quota_retry_at,
    reserve,
    restore_account,
    which_quota,
)
from tasks.handlers.record_response import record_response
from tasks.intake.limit_usage import COUNT_VALID_MS
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.ledger import DataLost, ServerChanged
from tasks.ledger.record_values import Allocation, State
from tasks.ledger.records import Operation
from tasks.ledger.snapshots import OperationSnapshot
from tasks.limits.applicable import restricts
from tasks.quota.priorities import CallPriority
from tasks.quota.rate_limiter import Grant
from tasks.runtime import tracing
from tasks.state_machine import submission
from tasks.state_machine.decision import MAX_SKEW_MS
from tasks.state_machine.refusal import as_busy
from tasks.state_machine.submission import Baseline, still_wanted

log = structlog.get_logger(__name__)


async def submit_operation(ctx: Context, snapshot: OperationSnapshot) -> None:
    """Take a `planned` operation as far as it gets now."""
    first, *others = [request.traceparent for request in snapshot.served] or [None]
    about = {"operation_id": snapshot.operation.operation_id, "zone": snapshot.operation.zone}
    with tracing.span("scaleout submit", parent=first, links=others, **about):
        await _submit(ctx, snapshot)


async def _submit(ctx: Context, snapshot: OperationSnapshot) -> None:
    operation = snapshot.operation
    if not still_wanted(operation, snapshot.requests, ctx.clock.now_ms()):
        only_late = still_wanted(operation, snapshot.requests, 0)
        if only_late and not ctx.may_end_by_time:
            await _retry_later(ctx, operation, Deferred(ctx.clock.now_ms() + SKEW_RETRY_MS, TIME_UNCERTAIN))
        else:
            await _abandon(ctx, operation)
        return
    if await park_while_paused(ctx, snapshot):
        return
    if (blocked := blocked_by_ledger(ctx) or until_settled(ctx, _margin_ms(ctx))) is not None:
        await _retry_later(ctx, operation, blocked)
        return
    try:
        # The call follows the listing, at the latest when its lease is over.
        lasting_s = 2 * ctx.settings.http_timeout_s + ctx.settings.submit_lease_s
        grant = await reserve(ctx, CallPriority.SUBMIT, 2, lasting_s=lasting_s)
    except Deferred as deferred:
        # Nor are there calls for any other submission: no worker plans or sends until then.
        deferred.until = quota_retry_at(ctx, deferred)
        await ctx.ledger.suspend_submissions(deferred.until)
        await _retry_later(ctx, operation, deferred)
        return
    listing, sending = replace(grant, calls=grant.calls[:1]), Grant(grant.calls[1:])
    try:
        submitting = await _prepare(ctx, snapshot, listing)
    except Deferred as deferred:
        await ctx.rate_limiter.release(sending.calls)
        await _retry_later(ctx, operation, deferred)
        return
    if submitting is None:
        await ctx.rate_limiter.release(sending.calls)
        return
    await _send(ctx, submitting, sending)


async def _abandon(ctx: Context, operation: Operation) -> None:
    async def build() -> ChangeSet | None:
        snapshot = await ctx.ledger.operation_snapshot(operation.operation_id)
        if snapshot is None or snapshot.operation.version != operation.version:
            return None
        return submission.abandon(snapshot.operation, snapshot.requests, snapshot.cluster, ctx.clock.now_ms())

    await ctx.ledger.transact(build)


async def _retry_later(ctx: Context, operation: Operation, deferred: Deferred) -> None:
    await ctx.ledger.commit(submission.retry_later(operation, at=deferred.until, reason=deferred.reason))


async def _prepare(ctx: Context, snapshot: OperationSnapshot, listing: Grant) -> OperationSnapshot | None:
    """List the baseline and write the operation as `submitting`; None if it is not to be sent now."""
    operation = snapshot.operation
    since = submission.baseline_since(snapshot.cluster, ctx.clock.now_ms(), _margin_ms(ctx))
    since = min(since, lost_calls_since(ctx, operation.cluster_id) or since)
    try:
        found = await list_cluster_jobs(
            ctx, operation.zone, operation.cluster_id, since, CallPriority.SUBMIT, listing
        )
        baseline = Baseline.of(found, since)
        await check_for_lost_calls(ctx, operation, found)
    except EhpcError as error:
        if error.ret_code != NO_SUCH_RESOURCE:
            log.warning(
                "listing_failed",
                operation_id=operation.operation_id,
                cluster_id=operation.cluster_id,
                kind=error.kind,
                detail=str(error),
            )
            raise await defer_after_error(ctx, error, operation.attempts) from error
        # addNodes will say the same of a cluster that does not exist, and for certain.
        baseline = Baseline((), since, complete=False)
    await restore_account(ctx, snapshot.account)
    wait_while_clocks_differ(ctx, operation)
    if (unsettled := until_settled(ctx, _margin_ms(ctx))) is not None:
        raise unsettled
    if await _taken_back(ctx, snapshot):
        return None
    return await _write_submitting(ctx, snapshot, baseline)


def _margin_ms(ctx: Context) -> int:
    return round((ctx.settings.signature_ttl_s + ctx.settings.log_lag_s) * 1000)


async def _taken_back(ctx: Context, snapshot: OperationSnapshot) -> bool:
    """Return whether the operation is not sent because its plan is outdated and there is a policy.

    While it waited, for the quota or the provider, the policy or the cluster may have changed.
    """
    # Planned in the future is planned by a clock that was ahead, nobody knows when.
    outdated = abs(ctx.clock.now_ms() - snapshot.operation.planned_at) > COUNT_VALID_MS
    if not outdated or not restricts(ctx.policy()):
        return False
    known: OperationSnapshot | None = snapshot

    async def build() -> ChangeSet | None:
        nonlocal known
        current, known = known or await ctx.ledger.operation_snapshot(snapshot.operation.operation_id), None
        if current is None or current.operation.state is not State.PLANNED:
            return None
        return submission.take_back(current.operation, current.requests, current.cluster, ctx.clock.now_ms())

    try:
        await ctx.ledger.transact(build)
    except (DataLost, ServerChanged):
        # Nothing is sent from such a ledger, so that there is nothing to plan again for.
        return False
    return True


async def _write_submitting(
    ctx: Context, snapshot: OperationSnapshot, baseline: Baseline
) -> OperationSnapshot | None:
    version = snapshot.operation.version
    known: OperationSnapshot | None = snapshot

    async def build() -> ChangeSet | None:
        nonlocal known, snapshot
        current, known = known or await ctx.ledger.operation_snapshot(snapshot.operation.operation_id), None
        # A request may have been cancelled; an operation that has moved on is another worker's now.
        if current is None or current.operation.version != version:
            return None
        snapshot, now = current, ctx.clock.now_ms()
        allocations = still_wanted(current.operation, current.requests, now)
        if not allocations:
            await _abandon(ctx, current.operation)
            return None
        if await park_while_paused(ctx, current):
            return None
        if not baseline.reaches_back(now, _margin_ms(ctx)):
            raise Deferred(now, CLOCK_SET)
        return submission.submit(
            current,
            allocations,
            baseline=baseline,
            body=_body(current, allocations),
            sent_at=now // 1000 * 1000,
            now=now,
            lease_ms=ctx.lease_ms,
        )

    try:
        changes = await ctx.ledger.transact(build)
    except (DataLost, ServerChanged) as error:
        # Unless this process has not noticed the change yet: its next tick will.
        noticed = blocked_by_ledger(ctx)
        raise noticed or Deferred(ctx.clock.now_ms() + SETTLING_RETRY_MS, SETTLING) from error
    return None if changes is None else snapshot.after(changes)


def _body(snapshot: OperationSnapshot, allocations: Sequence[Allocation]) -> bytes:
    operation = snapshot.operation
    spec = snapshot.requests[allocations[0].request_id].valid_spec
    return add_nodes_body(
        cluster_id=operation.cluster_id,
        zone=operation.zone,
        node_role=operation.node_role,
        node_count=sum(part.node_count for part in allocations),
        node_name=spec.node_name,
        private_ips=spec.private_ips,
        resource_conf=spec.resource_conf,
    )


async def _send(ctx: Context, snapshot: OperationSnapshot, sending: Grant) -> None:
    """Send the call. From here on it may have been sent: the response is recorded, or the lease expires."""
    operation = snapshot.operation
    body, sent_at = operation.body, operation.sent_at
    if body is None or sent_at is None:
        raise ValueError(f"operation {operation.operation_id} is {operation.state} without a body to send")
    response: JobAccepted | EhpcError

    def may_send() -> bool:
        # Before `sent_at` if the clock has been set back since: nobody would know what the signature allows.
        return -MAX_SKEW_MS <= ctx.clock.now_ms() - sent_at <= ctx.lease_ms

    try:
        if not may_send():
            raise NotSent("the worker's lease had expired, or its clock was set back: nothing was sent")
        await _still_on_master(ctx)
        await _wait_for_replicas(ctx)
        request = ctx.api.add_nodes(operation.zone, body.encode(), utc_second(sent_at), may_send)
        response = await call_with_grant(ctx, sending, sending.calls[0], request, sends=True)
    except EhpcError as error:
        response = error
    except asyncio.CancelledError:
        stopped = InDoubt("the worker was stopped")
        await asyncio.shield(record_response(ctx, operation.operation_id, stopped))
        raise
    response = await _explained(ctx, operation, response)
    await record_response(ctx, operation.operation_id, response, snapshot)


async def _still_on_master(ctx: Context) -> None:
    """Raise NotSent unless the sentinels, if there are any, name the server that has the operation."""
    if not await ctx.ledger.is_on_master():
        raise NotSent(
            "a majority of the sentinels does not name the server that has the operation, which may be lost "
            "with it: nothing was sent"
        )


async def _wait_for_replicas(ctx: Context) -> None:
    """Raise NotSent unless as many replicas know of the call as the settings demand."""
    wanted = ctx.settings.wait_replicas
    if not wanted:
        return
    try:
        replicas = await ctx.ledger.replicas_in_step(wanted)
    except (RedisError, OSError) as error:
        raise NotSent(f"the replicas of Redis cannot be asked, and nothing was sent: {error}") from error
    if replicas < wanted:
        raise NotSent(
            f"{replicas} of {wanted} replicas of Redis have the operation (SCALEOUT_WAIT_REPLICAS), and "
            "nothing was sent"
        )


async def _explained(
    ctx: Context, operation: Operation, response: JobAccepted | EhpcError
) -> JobAccepted | EhpcError:
    """Return the response, a refusal with two meanings as the one that fits what else is known."""
    if isinstance(response, UnclearQuota):
        try:
            return await which_quota(ctx, operation.zone, response)
        except asyncio.CancelledError:
            await asyncio.shield(record_response(ctx, operation.operation_id, response))
            raise
    if isinstance(response, EhpcError) and operation.change_under_way:
        return as_busy(response)
    return response
