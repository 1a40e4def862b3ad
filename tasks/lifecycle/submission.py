"""Sends a planned operation, once: baseline, written as `submitting`, sent, answer written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from redis.exceptions import RedisError

from tasks.ehpc.actions import add_nodes_body
from tasks.ehpc.errors import EhpcError, InDoubt, NotSent
from tasks.ehpc.models import JobAccepted
from tasks.ledger.changes import Changes, Committed
from tasks.ledger.records import Account, Cluster, Doubt, Operation, Refusal, Request, State
from tasks.lifecycle import next_step
from tasks.lifecycle.api_calls import (
    MustWait,
    account_is_accepted,
    counted,
    list_cluster_jobs,
    moment,
    read_refused,
    reserve,
)
from tasks.lifecycle.machinery import Contention, Machinery
from tasks.lifecycle.pause_watch import parked_while_paused
from tasks.lifecycle.refusal import refuse
from tasks.quota.governor import CallClass, Grant

log = structlog.get_logger(__name__)

MOST_SKEW_S = 5.0
MOST_PAUSE_S = 2.0
LOST_AGAIN_MS = 10_000
LEDGER_LOST = Refusal(
    kind="ledger_lost",
    message="data is missing from the ledger: nothing is sent until `scaleout doctor --accept-ledger`",
)
UNDECIDED = frozenset({State.SUBMITTING, State.IN_DOUBT, State.HELD})


async def submit(m: Machinery, operation: Operation) -> None:
    """Take a `planned` operation as far as it goes now."""
    if await _nobody_wants(m, operation) or await parked_while_paused(m, operation):
        return
    try:
        grant = await reserve(m, CallClass.SUBMIT, 2)
    except MustWait as wait:
        await _wait(m, operation, wait)
        return
    listing, sending = Grant(grant.calls[:1], grant.probe), Grant(grant.calls[1:])
    try:
        sent = await _prepare(m, operation, listing)
    except MustWait as wait:
        await m.governor.unused(sending.calls)
        await _wait(m, operation, wait)
        return
    if sent is None:
        await m.governor.unused(sending.calls)
        return
    await _send(m, sent, sending)


async def _nobody_wants(m: Machinery, operation: Operation) -> bool:
    requests = await m.ledger.requests(operation.request_ids)
    now = m.clock.now_ms()
    if next_step.still_wanted(operation, requests, now):
        return False
    cluster = await m.ledger.cluster(operation.cluster_id)
    word = await m.commit(next_step.abandon(operation, requests, cluster, now))
    return word is Committed.OK


async def _wait(m: Machinery, operation: Operation, wait: MustWait) -> None:
    await m.commit(next_step.try_again(operation, at=wait.until, reason=wait.refusal))


async def _prepare(m: Machinery, operation: Operation, listing: Grant) -> Operation | None:
    """Baseline, and the operation written as `submitting`; None if somebody else has taken it on."""
    settings = m.settings
    margin_s = settings.signature_ttl_s + settings.log_lag_s
    cluster = await m.ledger.cluster(operation.cluster_id)
    since = min(m.clock.now_ms(), cluster.doubt_since or m.clock.now_ms()) - round(margin_s * 1000)
    try:
        baseline = await list_cluster_jobs(
            m, operation.zone, operation.cluster_id, since, CallClass.SUBMIT, listing
        )
    except EhpcError as error:
        raise await read_refused(m, error, operation.tries) from error
    await account_is_accepted(m)
    _refuse_to_send_by_a_wrong_clock(m, operation)

    pauses = await m.ledger.pauses(operation.cluster_id)
    requests = await m.ledger.requests(operation.request_ids)
    now = m.clock.now_ms()
    if pauses.in_force(now) is not None:
        await parked_while_paused(m, operation)
        return None
    wanted = next_step.still_wanted(operation, requests, now)
    if not wanted:
        await _nobody_wants(m, operation)
        return None
    sending, changes = next_step.submitting(
        operation,
        requests,
        wanted,
        baseline=[row.job_id for row in baseline],
        listed_since=since,
        body=_body(operation, requests[wanted[0].request_id], sum(part.node_count for part in wanted)),
        sent_at=now // 1000 * 1000,
        now=now,
        lease_ms=m.lease_ms,
    )
    # A pause that is committed before this step wins.
    changes.checks.extend(pauses.records)
    word = await m.commit(changes)
    if word is Committed.LOST:
        raise MustWait(m.clock.now_ms() + LOST_AGAIN_MS, LEDGER_LOST)
    if word is Committed.STALE:
        await parked_while_paused(m, operation)
    return sending if word is Committed.OK else None


def _refuse_to_send_by_a_wrong_clock(m: Machinery, operation: Operation) -> None:
    skew_s = m.api.skew_s
    if skew_s is None or abs(skew_s) <= MOST_SKEW_S:
        return
    message = (
        f"the provider's clock is {skew_s:+.1f} s from the Redis server's, more than {MOST_SKEW_S:g} s: "
        "nothing is sent until they agree"
    )
    log.error("clock_skew", operation_id=operation.operation_id, skew_s=round(skew_s, 1))
    raise MustWait(m.clock.now_ms() + 30_000, Refusal(kind="clock_skew", message=message))


def _body(operation: Operation, first: Request, node_count: int) -> bytes:
    form = first.form
    return add_nodes_body(
        cluster_id=operation.cluster_id,
        zone=operation.zone,
        node_role=operation.node_role,
        node_count=node_count,
        node_name=form.node_name,
        private_ips=form.private_ips,
        resource_conf=form.resource_conf,
    )


async def _send(m: Machinery, operation: Operation, sending: Grant) -> None:
    """From here on it may have been sent: whatever happens is written down, or found by the lease."""
    body, sent_at = operation.body, operation.sent_at
    if body is None or sent_at is None:
        raise ValueError(f"operation {operation.operation_id} is {operation.state} without a body to send")
    answer: JobAccepted | EhpcError
    try:
        if m.clock.now_ms() - sent_at > m.lease_ms:
            raise NotSent("the worker woke up after its lease had run out, and sent nothing")
        call = m.api.add_nodes(operation.zone, body.encode(), moment(sent_at))
        answer = await counted(m, sending, sending.calls[0], call)
    except EhpcError as error:
        answer = error
    except asyncio.CancelledError:
        await asyncio.shield(record_answer(m, operation.operation_id, InDoubt("the worker was stopped")))
        raise
    await record_answer(m, operation.operation_id, answer)


async def record_answer(m: Machinery, operation_id: str, answer: JobAccepted | EhpcError) -> None:
    """Write the provider's answer down, whatever state the operation has drifted to meanwhile.

    A definite answer decides as long as the operation has not ended. An unclear one only moves an
    operation that is still `submitting`.
    """

    async def build() -> Changes | None:
        operation = await m.ledger.operation(operation_id)
        if operation is None:
            log.error("answer_without_operation", operation_id=operation_id, answer=str(answer))
            return None
        requests = list((await m.ledger.requests(operation.request_ids)).values())
        cluster = await m.ledger.cluster(operation.cluster_id)
        if operation.state not in UNDECIDED:
            return _contradiction(operation, cluster, answer, m.clock.now_ms())
        account = await m.ledger.account()
        return decide(m, operation, requests, cluster, account, answer)

    await _until_written(m, build)


async def _until_written(m: Machinery, build: Callable[[], Awaitable[Changes | None]]) -> None:
    """A definite answer is known to nobody but this process: it is written as soon as Redis is back."""
    pause_s = 0.1
    while True:
        try:
            await m.commit_current(build)
        except (RedisError, OSError, Contention) as error:
            log.warning("answer_not_written_yet", kind=type(error).__name__, detail=str(error))
            await m.clock.sleep(pause_s)
            pause_s = min(pause_s * 2, MOST_PAUSE_S)
        else:
            return


def decide(
    m: Machinery,
    operation: Operation,
    requests: list[Request],
    cluster: Cluster,
    account: Account,
    answer: JobAccepted | EhpcError,
) -> Changes | None:
    now = m.clock.now_ms()
    if isinstance(answer, JobAccepted):
        look_at = now + round(m.settings.poll_interval_s * 1000)
        return next_step.started(operation, requests, cluster, job_id=answer.job_id, look_at=look_at)
    if not isinstance(answer, InDoubt):
        return refuse(operation, requests, cluster, account, answer, now=now, waiting=m.waiting)
    if operation.state is not State.SUBMITTING:
        return None
    what = Doubt(since=now, reason=str(answer), http_status=answer.http_status, ret_code=answer.ret_code)
    return next_step.doubt(operation, requests, cluster, what)


def _contradiction(
    operation: Operation, cluster: Cluster, answer: JobAccepted | EhpcError, now: int
) -> Changes | None:
    """An answer for an operation that has been decided without it. What it agrees with needs no word."""
    if isinstance(answer, InDoubt):
        return None
    if isinstance(answer, JobAccepted):
        if operation.job_id == answer.job_id:
            return None
        return next_step.answered_too_late(operation, cluster, job_id=answer.job_id, now=now)
    if operation.job_id is not None:
        log.error(
            "late_answer", operation_id=operation.operation_id, job_id=operation.job_id, detail=str(answer)
        )
    return None
