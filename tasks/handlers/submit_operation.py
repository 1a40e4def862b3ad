"""Sends a planned operation, once: baseline, written as `submitting`, sent, answer written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from redis.exceptions import RedisError

from tasks.ehpc.actions import add_nodes_body
from tasks.ehpc.errors import EhpcError, InDoubt, NotSent
from tasks.ehpc.models import JobAccepted
from tasks.handlers.apply_pause import parked_while_paused
from tasks.handlers.context import Machinery
from tasks.handlers.provider_calls import (
    MustWait,
    account_is_accepted,
    ask_again_at,
    counted,
    list_cluster_jobs,
    moment,
    read_refused,
    reserve,
)
from tasks.handlers.replan import planned_anew
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.records import Cluster, Doubt, Operation, Refusal, Request, State
from tasks.ledger.snapshots import Scene
from tasks.ledger.transactions import MOST_CONTENTION, Contention
from tasks.quota.rate_limiter import CallClass, Grant
from tasks.state_machine import next_step
from tasks.state_machine.refusal import refuse

log = structlog.get_logger(__name__)

MOST_SKEW_S = 5.0
MOST_PAUSE_S = 2.0
LOST_AGAIN_MS = 10_000
LEDGER_LOST = Refusal(
    kind="ledger_lost",
    message="data is missing from the ledger: nothing is sent until `scaleout doctor --accept-ledger`",
)
UNDECIDED = frozenset({State.SUBMITTING, State.IN_DOUBT, State.HELD})


async def submit(m: Machinery, scene: Scene) -> None:
    """Take a `planned` operation as far as it goes now."""
    operation = scene.operation
    if not next_step.still_wanted(operation, scene.requests, m.clock.now_ms()):
        await _abandon(m, operation)
        return
    if await parked_while_paused(m, scene):
        return
    try:
        # The sending comes after the listing, and at the latest when its lease is over.
        lasting_s = 2 * m.settings.http_timeout_s + m.settings.submit_lease_s
        grant = await reserve(m, CallClass.SUBMIT, 2, lasting_s=lasting_s)
    except MustWait as wait:
        # Nor are there calls for any other submission: nobody plans or sends until then.
        wait.until = ask_again_at(m, wait)
        await m.ledger.rest_submissions(wait.until)
        await _wait(m, operation, wait)
        return
    listing, sending = Grant(grant.calls[:1], grant.probe, grant.until_ms), Grant(grant.calls[1:])
    try:
        sent = await _prepare(m, scene, listing)
    except MustWait as wait:
        await m.governor.unused(sending.calls)
        await _wait(m, operation, wait)
        return
    if sent is None:
        await m.governor.unused(sending.calls)
        return
    await _send(m, sent, sending)


async def _abandon(m: Machinery, operation: Operation) -> None:
    async def build() -> Changes | None:
        scene = await m.ledger.scene(operation.operation_id)
        if scene is None or scene.operation.version != operation.version:
            return None
        return next_step.abandon(scene.operation, scene.requests, scene.cluster, m.clock.now_ms())

    await m.commit_current(build)


async def _wait(m: Machinery, operation: Operation, wait: MustWait) -> None:
    await m.commit(next_step.try_again(operation, at=wait.until, reason=wait.refusal))


async def _prepare(m: Machinery, scene: Scene, listing: Grant) -> Scene | None:
    """Baseline, and the operation written as `submitting`; None if somebody else has taken it on."""
    operation = scene.operation
    margin_ms = round((m.settings.signature_ttl_s + m.settings.log_lag_s) * 1000)
    since = min(m.clock.now_ms(), scene.cluster.doubt_since or m.clock.now_ms()) - margin_ms
    try:
        baseline = await list_cluster_jobs(
            m, operation.zone, operation.cluster_id, since, CallClass.SUBMIT, listing
        )
    except EhpcError as error:
        log.warning(
            "listing_failed",
            operation_id=operation.operation_id,
            cluster_id=operation.cluster_id,
            kind=error.kind,
            detail=str(error),
        )
        raise await read_refused(m, error, operation.tries) from error
    await account_is_accepted(m, scene.account)
    _refuse_to_send_by_a_wrong_clock(m, operation)
    if await planned_anew(m, scene):
        return None
    return await _written_as_submitting(m, scene, [row.job_id for row in baseline], since)


async def _written_as_submitting(
    m: Machinery, scene: Scene, baseline: Sequence[str], since: int
) -> Scene | None:
    for _ in range(MOST_CONTENTION):
        operation, now = scene.operation, m.clock.now_ms()
        wanted = next_step.still_wanted(operation, scene.requests, now)
        if not wanted:
            await _abandon(m, operation)
            return None
        if await parked_while_paused(m, scene):
            return None
        changes = next_step.submitting(
            operation,
            scene.requests,
            wanted,
            baseline=baseline,
            listed_since=since,
            body=_body(operation, scene.requests[wanted[0].request_id], sum(p.node_count for p in wanted)),
            sent_at=now // 1000 * 1000,
            now=now,
            lease_ms=m.lease_ms,
        )
        # A pause that is committed before this step wins.
        changes.checks.extend(scene.pauses.records)
        word = await m.commit(changes)
        if word is Committed.OK:
            return scene.after(changes)
        if word is Committed.LOST:
            raise MustWait(m.clock.now_ms() + LOST_AGAIN_MS, LEDGER_LOST)
        # A request may have been cancelled; but an operation that has moved on is somebody else's now.
        current = await m.ledger.scene(operation.operation_id)
        if current is None or current.operation.version != operation.version:
            return None
        scene = current
    return None


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


async def _send(m: Machinery, scene: Scene, sending: Grant) -> None:
    """From here on it may have been sent: whatever happens is written down, or found by the lease."""
    operation = scene.operation
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
    await record_answer(m, operation.operation_id, answer, scene)


async def record_answer(
    m: Machinery, operation_id: str, answer: JobAccepted | EhpcError, scene: Scene | None = None
) -> None:
    """Write the provider's answer down, whatever state the operation has drifted to meanwhile.

    A definite answer decides as long as the operation has not ended. An unclear one only moves an
    operation that is still `submitting`. `scene`: as this process last wrote it, which spares a reading.
    """
    known = scene

    async def build() -> Changes | None:
        nonlocal known
        current, known = known or await m.ledger.scene(operation_id), None
        if current is None:
            log.error("answer_without_operation", operation_id=operation_id, answer=str(answer))
            return None
        if current.operation.state not in UNDECIDED:
            return _contradiction(current.operation, current.cluster, answer, m.clock.now_ms())
        return decide(m, current, answer)

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


def decide(m: Machinery, scene: Scene, answer: JobAccepted | EhpcError) -> Changes | None:
    operation, now = scene.operation, m.clock.now_ms()
    if isinstance(answer, JobAccepted):
        look_at = now + round(m.settings.poll_interval_s * 1000)
        return next_step.started(
            operation, scene.served, scene.cluster, job_id=answer.job_id, look_at=look_at
        )
    if not isinstance(answer, InDoubt):
        return refuse(
            operation, scene.served, scene.cluster, scene.account, answer, now=now, waiting=m.waiting
        )
    if operation.state is not State.SUBMITTING:
        return None
    what = Doubt(since=now, reason=str(answer), http_status=answer.http_status, ret_code=answer.ret_code)
    return next_step.doubt(operation, scene.served, scene.cluster, what)


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
