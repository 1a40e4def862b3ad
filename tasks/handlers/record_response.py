"""Records the provider's response to a call, whatever state the operation has reached meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog
from redis.exceptions import RedisError

from tasks.ehpc.errors import EhpcError, InDoubt
from tasks.ehpc.models import JobAccepted
from tasks.handlers.context import Context
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event
from tasks.ledger.ledger import WriteConflict
from tasks.ledger.migrations import UnreadableRecord
from tasks.ledger.record_values import Doubt, State
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine.acceptance import accept, hold_as_sent, late_response, own_job
from tasks.state_machine.reconciliation import doubt
from tasks.state_machine.refusal import refuse
from tasks.state_machine.states import UNDECIDED

log = structlog.get_logger(__name__)

MAX_RETRY_S = 2.0

Response = JobAccepted | EhpcError


async def record_response(
    ctx: Context, operation_id: str, response: Response, snapshot: OperationSnapshot | None = None
) -> None:
    """Write the response down.

    A definite response decides as long as the operation has not ended. An unclear one only moves an
    operation that is still `submitting`.

    Args:
        snapshot: as this process last wrote it, which saves a read.
    """
    known = snapshot

    async def build() -> ChangeSet | None:
        nonlocal known
        unread, known = known, None
        current = unread or await ctx.ledger.operation_snapshot(operation_id)
        if current is None:
            return await _report_unknown(ctx, operation_id, response)
        if current.operation.state is State.PLANNED:
            return await _report_unsent(ctx, current, snapshot, response)
        # A job that is another's is a conflict, so that the first attempt needs no read for it.
        answer = response if unread is not None else await _unless_owned(ctx, current, response)
        if current.operation.state not in UNDECIDED:
            return _contradiction(current, answer, ctx.clock.now_ms())
        return _decide(ctx, current, answer)

    try:
        await _until_written(ctx, build)
    except UnreadableRecord:
        if snapshot is not None:
            await _until_written(ctx, lambda: _keep(snapshot, response))
        raise


async def _keep(snapshot: OperationSnapshot, response: Response) -> ChangeSet:
    """Keep what the provider has answered, for a version that can read what has been written meanwhile."""
    operation = snapshot.operation
    changes = ChangeSet()
    about = {"response": str(response)}
    if isinstance(response, JobAccepted):
        changes.add(own_job(operation, snapshot.cluster, response.job_id))
        about["response_job_id"] = response.job_id
    event = operation.event("response_kept", "error", **about)
    changes.record(replace(event, in_journal=True))
    return changes


async def _report_unsent(
    ctx: Context, current: OperationSnapshot, sent: OperationSnapshot | None, response: Response
) -> ChangeSet:
    """Mark the ledger, which lacks the step that wrote the operation as `submitting`.

    It is held, so that it is not sent again, unless the response refuses it.
    """
    await ctx.ledger.mark_data_lost()
    job_id = response.job_id if isinstance(response, JobAccepted) else None
    changes = ChangeSet()
    if job_id is not None or isinstance(response, InDoubt):
        was = None if sent is None else sent.operation
        text = str(response) if job_id is None else f"job {job_id}"
        changes = hold_as_sent(current, was, job_id=job_id, response=text, now=ctx.clock.now_ms())
    fields = {"response_job_id": job_id, "state": current.operation.state, "response": str(response)}
    event = current.operation.event("response_for_unknown_operation", "error", **fields)
    changes.events.insert(0, replace(event, in_journal=True))
    return changes


async def _report_unknown(ctx: Context, operation_id: str, response: Response) -> ChangeSet:
    """Mark the ledger: that it does not know the operation that was sent proves that it has lost data."""
    await ctx.ledger.mark_data_lost()
    job_id = response.job_id if isinstance(response, JobAccepted) else None
    fields = {"operation_id": operation_id, "job_id": job_id, "response": str(response)}
    changes = ChangeSet()
    changes.record(Event("response_for_unknown_operation", "error", fields=fields, in_journal=True))
    return changes


async def _unless_owned(ctx: Context, snapshot: OperationSnapshot, response: Response) -> Response:
    """Return the response; one that names the job of another operation says nothing for certain."""
    if not isinstance(response, JobAccepted):
        return response
    operation, job_id = snapshot.operation, response.job_id
    owner = (await ctx.ledger.job_owners(operation.cluster_id, [job_id])).get(job_id)
    if owner in (None, operation.operation_id):
        return response
    log.error("response_names_foreign_job", operation_id=operation.operation_id, job_id=job_id, owner=owner)
    return InDoubt(f"the provider answered with job {job_id}, which belongs to operation {owner}", ret_code=0)


async def _until_written(ctx: Context, build: Callable[[], Awaitable[ChangeSet | None]]) -> None:
    """No other process knows a definite response: it is written as soon as Redis is back."""
    wait_s = 0.1
    while True:
        try:
            await ctx.ledger.transact(build)
        except (RedisError, OSError, WriteConflict) as error:
            log.warning("response_write_retrying", kind=type(error).__name__, detail=str(error))
            await ctx.clock.sleep(wait_s)
            wait_s = min(wait_s * 2, MAX_RETRY_S)
        else:
            return


def _decide(ctx: Context, snapshot: OperationSnapshot, response: Response) -> ChangeSet | None:
    operation, now = snapshot.operation, ctx.clock.now_ms()
    if isinstance(response, JobAccepted):
        poll_at = now + round(ctx.settings.poll_interval_s * 1000)
        return accept(operation, snapshot.served, snapshot.cluster, job_id=response.job_id, poll_at=poll_at)
    if not isinstance(response, InDoubt):
        return refuse(snapshot, response, now=now, backoff=ctx.backoff)
    if operation.state is not State.SUBMITTING:
        return None
    what = Doubt(
        since=now, reason=str(response), http_status=response.http_status, ret_code=response.ret_code
    )
    return doubt(operation, snapshot.served, snapshot.cluster, what)


def _contradiction(snapshot: OperationSnapshot, response: Response, now: int) -> ChangeSet | None:
    """Record a response that contradicts what was decided without it; one that agrees needs nothing."""
    operation = snapshot.operation
    if isinstance(response, JobAccepted) and operation.job_id != response.job_id:
        return late_response(snapshot, job_id=response.job_id, now=now)
    if isinstance(response, EhpcError) and not isinstance(response, InDoubt) and operation.job_id is not None:
        about = {"operation_id": operation.operation_id, "job_id": operation.job_id}
        log.error("late_response", **about, detail=str(response))
    return None
