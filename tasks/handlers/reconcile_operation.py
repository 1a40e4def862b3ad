"""Settles operations in doubt: lists the cluster's jobs, has them judged, and writes the judgement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tasks.ehpc.errors import EhpcError, InDoubt, Rejected
from tasks.ehpc.models import OperationRow
from tasks.handlers.context import Machinery
from tasks.handlers.provider_calls import (
    MustWait,
    list_cluster_jobs,
    list_cluster_nodes,
    read_refused,
    reserve,
)
from tasks.handlers.submit_operation import record_answer
from tasks.ledger.change_set import Changes
from tasks.ledger.records import Operation, State
from tasks.quota.rate_limiter import CallClass
from tasks.state_machine import next_step
from tasks.state_machine.decision import (
    Absent,
    Adopt,
    CountNodes,
    Hold,
    LookAgain,
    NotTaken,
    Timings,
    candidates_of,
    evidence,
    judge,
)
from tasks.state_machine.node_arrivals import CLOCK_MARGIN_MS, nodes_made
from tasks.state_machine.refusal import refuse

PROVED = "the provider's log shows that it was never taken"


async def lease_ran_out(m: Machinery, operation: Operation) -> None:
    """Whoever was sending this has not been heard of: it may have been sent."""
    await record_answer(
        m, operation.operation_id, InDoubt("the worker that was sending it died or was stopped")
    )


async def settle(m: Machinery, operation: Operation) -> None:
    """One look at the log for an operation in doubt. A listing that fails decides nothing."""
    since = operation.listed_since
    listed_at = m.clock.now_ms()
    try:
        listing = (
            await list_cluster_jobs(
                m,
                operation.zone,
                operation.cluster_id,
                since,
                CallClass.SETTLE,
                await reserve(m, CallClass.SETTLE),
            )
            if since is not None
            else []
        )
    except MustWait as wait:
        await m.commit(next_step.try_again(operation, at=wait.until, reason=wait.refusal))
        return
    except EhpcError as error:
        await m.commit_current(partial(_unread, m, operation.operation_id, error))
        return
    counted: dict[str, int] = {}
    await m.commit_current(lambda: _judged(m, operation.operation_id, listing, listed_at, counted))


async def _judged(
    m: Machinery,
    operation_id: str,
    listing: Sequence[OperationRow],
    listed_at: int,
    counted: dict[str, int],
) -> Changes | None:
    # The cluster before its jobs: whoever gives one of them to another operation moves its version.
    scene = await m.ledger.scene(operation_id)
    if scene is None or scene.operation.state is not State.IN_DOUBT:
        return None
    operation, cluster, requests = scene.operation, scene.cluster, scene.served
    owners = await m.ledger.jobs(operation.cluster_id)
    taken = [job_id for job_id, owner in owners.items() if owner != operation_id]
    zone = await m.ledger.zone(operation.zone)
    candidates = candidates_of(operation, listing, taken)
    judging = partial(
        judge,
        operation,
        candidates,
        listed_at=listed_at,
        timings=timings(m),
        job_action=m.settings.add_nodes_job_action,
        action_seen=zone.action_seen,
    )
    judgement = judging(nodes_counted=counted.get(candidates[0].job_id) if candidates else None)
    operation = operation.model_copy(update={"candidates": tuple(map(evidence, candidates))})
    match judgement:
        case Adopt(job_id):
            found = operation.model_copy(update={"job_id": job_id})
            told_as = next_step.event("operation_adopted", found, by="the provider's log")
            return next_step.started(
                operation, requests, cluster, job_id=job_id, look_at=m.clock.now_ms(), told_as=told_as
            )
        case Absent():
            return refuse(
                operation,
                requests,
                cluster,
                scene.account,
                NotTaken(PROVED),
                now=m.clock.now_ms(),
                waiting=m.waiting,
                as_state=State.ABSENT,
            )
        case Hold(because):
            return next_step.hold(operation, requests, because=because, now=m.clock.now_ms())
        case CountNodes(job):
            try:
                counted[job.job_id] = await _nodes_made(m, operation, job, listed_at)
            except MustWait as wait:
                return next_step.try_again(operation, at=wait.until, reason=wait.refusal)
            except EhpcError as error:
                return await _unread(m, operation_id, error)
            return await _judged(m, operation_id, listing, listed_at, counted)
        case LookAgain(at, absent_since):
            return next_step.keep_in_doubt(
                operation, at=at, candidates=operation.candidates, absent_since=absent_since
            )


async def _nodes_made(m: Machinery, operation: Operation, job: OperationRow, listed_at: int) -> int:
    """How many nodes of the operation's role were made while `job` ran."""
    rows = await list_cluster_nodes(m, operation.zone, operation.cluster_id, CallClass.SETTLE)
    sent_at, shown_at = operation.sent_at or 0, listed_at + CLOCK_MARGIN_MS
    since = (
        sent_at - CLOCK_MARGIN_MS if job.create_time is None else round(job.create_time.timestamp() * 1000)
    )
    until = shown_at if job.status_time is None else round(job.status_time.timestamp() * 1000)
    return len(nodes_made(rows, operation.node_role, since, until))


async def _unread(m: Machinery, operation_id: str, error: EhpcError) -> Changes | None:
    """What could not be listed is tried again; what is refused for good is held, once no request waits."""
    scene = await m.ledger.scene(operation_id)
    if scene is None or scene.operation.state is not State.IN_DOUBT:
        return None
    operation, now = scene.operation, m.clock.now_ms()
    if isinstance(error, Rejected) and not scene.is_waited_for(now):
        because = f"whether it was taken cannot be found out: {error}"
        return next_step.hold(operation, scene.served, because=because, now=now)
    later = await read_refused(m, error, operation.tries)
    return next_step.try_again(operation, at=later.until, reason=later.refusal)


def timings(m: Machinery) -> Timings:
    settings = m.settings
    return Timings(
        signature_ttl_ms=round(settings.signature_ttl_s * 1000),
        http_timeout_ms=round(settings.http_timeout_s * 1000),
        lag_ms=round(settings.log_lag_s * 1000),
        poll_ms=round(settings.poll_interval_s * 1000),
    )
