"""Claims due entries and hands each to its handler, in the background of the process's event loop."""

import asyncio
import contextvars
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

import structlog
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from tasks.handlers.apply_pause import apply_pause
from tasks.handlers.context import Context
from tasks.handlers.count_nodes import count_nodes
from tasks.handlers.expire_request import expire_request
from tasks.handlers.plan_cluster import plan_and_submit
from tasks.handlers.poll_zone import poll_zone
from tasks.handlers.proven_time import prove_time
from tasks.handlers.publish_outcomes import Publisher, publish_outbox
from tasks.handlers.reconcile_operation import expire_lease, reconcile
from tasks.handlers.submit_operation import submit_operation
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.due import NOTICES, Due, DueKind, Lane
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation
from tasks.schedules.fire import fire_schedule
from tasks.webhooks.deliver import Webhooks

log = structlog.get_logger(__name__)

MAX_TASKS = 64
BATCH = 32


class Dispatcher:
    """A call of `sweep` returns at once when all slots are taken: what is not claimed stays due, for this
    process or another. Work that dies with its process comes up again when its lease expires.

    Args:
        publisher: tells the tasks that wait.
    """

    def __init__(self, ctx: Context, publisher: Publisher) -> None:
        self._ctx = ctx
        self._publisher = publisher
        self._webhooks = Webhooks(ctx)
        self._tasks: dict[Lane, set[asyncio.Task[None]]] = {lane: set() for lane in Lane}
        self._max = {Lane.SUBMISSIONS: ctx.settings.submissions_at_once, Lane.ALL_ELSE: MAX_TASKS}
        self._sweeping = asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._polled: set[str] = set()
        self._to_sweep: set[Lane] = set()
        self._timed: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def sweep(self) -> int:
        """Claim and start what is due; return the number of entries started."""
        return await self._sweep(Lane)

    def sweep_soon(self, lanes: Iterable[Lane]) -> None:
        """Sweep in the background; after a failure the next tick sweeps."""
        task = asyncio.create_task(self._sweep_timed(set(lanes)), context=contextvars.Context())
        self._timed.add(task)
        task.add_done_callback(self._timed.discard)

    async def _sweep_timed(self, lanes: Iterable[Lane]) -> None:
        try:
            await self._sweep(lanes)
        except (RedisError, OSError) as error:
            # An outage, which the client and the ticks have logged; many sweeps meet it.
            log.debug("sweep_postponed", kind=type(error).__name__, detail=str(error))

    async def _sweep(self, lanes: Iterable[Lane]) -> int:
        started = 0
        self._to_sweep.update(lanes)
        if self._sweeping.locked():
            return 0
        async with self._sweeping:
            while self._to_sweep and not self._stopping:
                # What runs goes before what is new.
                lane = Lane.ALL_ELSE if Lane.ALL_ELSE in self._to_sweep else Lane.SUBMISSIONS
                self._to_sweep.remove(lane)
                started += await self._sweep_lane(lane)
        return started

    def start(self, work: Coroutine[Any, Any, None], due: Due) -> None:
        """Run `work` in the background; when it is done, the due set is swept again."""
        tasks = self._tasks[due.lane]
        # The log lines of the work are not about the Celery task that happens to have started it.
        task = asyncio.create_task(self._guarded(work, due), context=contextvars.Context())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def has_room(self, lane: Lane) -> bool:
        return len(self._tasks[lane]) < self._max[lane] and not self._stopping

    def plan_soon(self, cluster_id: str) -> None:
        """Plan a cluster in the background, now."""
        due = Due(DueKind.CLUSTER, cluster_id)
        self.start(self._handle(due), due)

    async def drain(self, timeout_s: float) -> None:
        """Claim nothing more, and give running work `timeout_s` seconds to end."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._sweeping:
                # What was being claimed is started by now, and waited for like all the rest.
                pass
        tasks = set().union(*self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._webhooks.close()

    async def _sweep_lane(self, lane: Lane) -> int:
        started = 0
        # What is claimed is leased by this process's time.
        if not self._ctx.ledger.time_is_proven and not await prove_time(self._ctx):
            return 0
        while self.has_room(lane):
            room = min(self._max[lane] - len(self._tasks[lane]), BATCH)
            entries = await self._ctx.ledger.claim_due(lane, room, self._ctx.settings.submit_lease_s)
            for due in entries:
                self.start(self._handle(due), due)
            started += len(entries)
            if len(entries) < room:
                break
        return started

    async def _guarded(self, work: Coroutine[Any, Any, None], due: Due) -> None:
        try:
            with bound_contextvars(due=str(due)):
                # The lease brings it up again, perhaps for a version that can read the record.
                await self._ctx.ledger.unless_unreadable(work)
        except (RedisError, OSError) as error:
            # An outage, which the client has logged. The lease brings the work up again.
            log.debug("step_postponed", due=str(due), kind=type(error).__name__, detail=str(error))
            return
        except Exception:
            # Its lease brings it up again; a failure of one entry must not stop the others.
            log.exception("step_failed", due=str(due))
            return
        await self._sweep_again(due.lane)

    async def _sweep_again(self, lane: Lane) -> None:
        """Claim what a step has made due now, not at the next tick."""
        if self._stopping:
            return
        task = asyncio.current_task()
        if task is not None:
            self._tasks[lane].discard(task)
        expecting = [lane for lane in Lane if self._ctx.ledger.expects_due(lane)]
        if expecting:
            await self._sweep(expecting)

    async def _handle(self, due: Due) -> None:
        match due.kind:
            case DueKind.CLUSTER:
                await plan_and_submit(self._ctx, due.name)
            case DueKind.SUBMISSION:
                await self._submit(due)
            case DueKind.OPERATION:
                await self._handle_operation(due)
            case DueKind.ZONE:
                await self._poll(due.name)
            case DueKind.REQUEST:
                await expire_request(self._ctx, due)
            case DueKind.OUTBOX:
                await self._publish()
            case DueKind.PAUSE:
                await apply_pause(self._ctx, due.name)
            case DueKind.SCHEDULE:
                await fire_schedule(self._ctx, due.name)
            case DueKind.WEBHOOK if due == NOTICES:
                await self._webhooks.hand_out()
            case DueKind.WEBHOOK:
                await self._webhooks.deliver(due.name)

    async def _poll(self, zone: str) -> None:
        """Poll a zone once at a time: a poll that takes longer than its lease comes up again."""
        if zone in self._polled:
            return
        self._polled.add(zone)
        try:
            await poll_zone(self._ctx, zone)
        finally:
            self._polled.discard(zone)

    async def _publish(self) -> None:
        """Publish once at a time, until the outbox is empty: a second one would publish everything twice."""
        if self._publishing.locked():
            return
        async with self._publishing:
            await publish_outbox(self._ctx, self._publisher)

    async def _submit(self, due: Due) -> None:
        snapshot = await self._ctx.ledger.operation_snapshot(due.name)
        if snapshot is not None and snapshot.operation.state is State.PLANNED:
            await submit_operation(self._ctx, snapshot)
        else:
            await self._forget(due, snapshot.operation if snapshot is not None else None)

    async def _handle_operation(self, due: Due) -> None:
        operation = await self._ctx.ledger.operation(due.name)
        if operation is None:
            await self._forget(due)
            return
        match operation.state:
            case State.SUBMITTING:
                await expire_lease(self._ctx, operation)
            case State.IN_DOUBT:
                await reconcile(self._ctx, operation)
            case State.RUNNING if operation.job_result is not None:
                await count_nodes(self._ctx, operation)
            case _:
                await self._forget(due, operation)

    async def _forget(self, due: Due, operation: Operation | None = None) -> None:
        changes = ChangeSet(expected=[] if operation is None else [operation])
        changes.schedule(due, None)
        await self._ctx.ledger.commit(changes)
