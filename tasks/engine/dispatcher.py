"""One pass over the due set after another, as long as something is due."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

import structlog
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from tasks.handlers.apply_pause import look_at_pause
from tasks.handlers.context import Machinery
from tasks.handlers.count_nodes import count_nodes
from tasks.handlers.plan_cluster import within_policy
from tasks.handlers.poll_zone import follow_zone
from tasks.handlers.publish_outcomes import Deliver, publish_outbox
from tasks.handlers.reconcile_operation import lease_ran_out, settle
from tasks.handlers.submit_operation import submit
from tasks.ledger.change_set import Changes
from tasks.ledger.due import Due, DueKind, Lane
from tasks.ledger.records import Operation, State
from tasks.ledger.snapshots import Scene
from tasks.schedules.fire import fire_schedule
from tasks.state_machine.planning import Plan, plan_cluster
from tasks.state_machine.request_outcome import expire_request

log = structlog.get_logger(__name__)

AT_ONCE = 64
BATCH = 32


class Sweeper:
    """Claims due entries and works on them in the background of the process's event loop.

    A call of `sweep` gives back at once when all room is taken: what is not claimed stays due, for this
    process or another. What dies while being worked on comes up again when its lease has run out.
    """

    def __init__(self, machinery: Machinery, deliver: Deliver) -> None:
        self._m = machinery
        self._deliver = deliver
        self._working: dict[Lane, set[asyncio.Task[None]]] = {lane: set() for lane in Lane}
        self._most = {Lane.SUBMISSIONS: machinery.settings.submissions_at_once, Lane.ALL_ELSE: AT_ONCE}
        self._passing = asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._followed: set[str] = set()
        self._to_pass: set[Lane] = set()
        self._alarms: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def sweep(self) -> int:
        """Claim and start what is due; gives the number of entries started."""
        return await self._sweep(Lane)

    def sweep_soon(self, lanes: Iterable[Lane]) -> None:
        """Sweep in the background; what goes wrong is left to the next tick."""
        task = asyncio.create_task(self._alarmed(set(lanes)), context=Context())
        self._alarms.add(task)
        task.add_done_callback(self._alarms.discard)

    async def _alarmed(self, lanes: Iterable[Lane]) -> None:
        try:
            await self._sweep(lanes)
        except (RedisError, OSError) as error:
            log.warning("sweep_put_off", kind=type(error).__name__, detail=str(error))

    async def _sweep(self, lanes: Iterable[Lane]) -> int:
        started = 0
        self._to_pass.update(lanes)
        if self._passing.locked():
            return 0
        async with self._passing:
            while self._to_pass and not self._stopping:
                # What runs goes before what is new.
                lane = Lane.ALL_ELSE if Lane.ALL_ELSE in self._to_pass else Lane.SUBMISSIONS
                self._to_pass.remove(lane)
                started += await self._pass(lane)
        return started

    def start(self, work: Coroutine[Any, Any, None], about: Due) -> None:
        """Work in the background, bounded only by the leases; when it is done the due set is swept again."""
        working = self._working[about.lane]
        # Whose task happens to have started it is not what its log lines are about.
        task = asyncio.create_task(self._guarded(work, about), context=Context())
        working.add(task)
        task.add_done_callback(working.discard)

    def has_room(self, lane: Lane) -> bool:
        return len(self._working[lane]) < self._most[lane] and not self._stopping

    def plan_soon(self, cluster_id: str) -> None:
        """Plan a cluster in the background, now."""
        due = Due(DueKind.CLUSTER, cluster_id)
        self.start(self._work(due), due)

    async def plan(self, cluster_id: str) -> None:
        """Plan a cluster now, and send what was planned."""
        scene = await self._plan(cluster_id)
        if scene is not None:
            await submit(self._m, scene)

    async def drain(self, timeout_s: float) -> None:
        """Take on nothing more, and give what is under way `timeout_s` to come to its end."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._passing:
                # What was being claimed has been started now, and is waited for like all else.
                pass
        working = set().union(*self._working.values())
        if not working:
            return
        _, late = await asyncio.wait(working, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _pass(self, lane: Lane) -> int:
        started = 0
        while self.has_room(lane):
            most = min(self._most[lane] - len(self._working[lane]), BATCH)
            entries = await self._m.ledger.claim_due(lane, most, self._m.settings.submit_lease_s)
            for due in entries:
                self.start(self._work(due), due)
            started += len(entries)
            if len(entries) < most:
                break
        return started

    async def _guarded(self, work: Coroutine[Any, Any, None], about: Due) -> None:
        try:
            with bound_contextvars(due=str(about)):
                await work
        except Exception:
            # Its lease brings it up again; nothing that goes wrong with one entry may stop the others.
            log.exception("step_failed", due=str(about))
            return
        await self._soon(about.lane)

    async def _soon(self, lane: Lane) -> None:
        """What one step makes due is taken up at once, not at the next tick."""
        if self._stopping:
            return
        task = asyncio.current_task()
        if task is not None:
            self._working[lane].discard(task)
        expecting = [lane for lane in Lane if self._m.ledger.expects_due(lane)]
        if expecting:
            await self._sweep(expecting)

    async def _work(self, due: Due) -> None:
        match due.kind:
            case DueKind.CLUSTER:
                await self.plan(due.name)
            case DueKind.SUBMISSION:
                await self._submission(due)
            case DueKind.OPERATION:
                await self._operation(due)
            case DueKind.ZONE:
                await self._follow(due.name)
            case DueKind.REQUEST:
                await self._deadline(due)
            case DueKind.OUTBOX:
                await self._publish()
            case DueKind.PAUSE:
                await look_at_pause(self._m, due.name)
            case DueKind.SCHEDULE:
                await fire_schedule(self._m, due.name)

    async def _follow(self, zone: str) -> None:
        """A look that takes longer than its lease comes up again: once at a time is enough."""
        if zone in self._followed:
            return
        self._followed.add(zone)
        try:
            await follow_zone(self._m, zone)
        finally:
            self._followed.discard(zone)

    async def _publish(self) -> None:
        """Whoever publishes already goes on until the outbox is empty: a second one would tell all twice."""
        if self._publishing.locked():
            return
        async with self._publishing:
            await publish_outbox(self._m, self._deliver)

    async def _submission(self, due: Due) -> None:
        scene = await self._m.ledger.scene(due.name)
        if scene is not None and scene.operation.state is State.PLANNED:
            await submit(self._m, scene)
        else:
            await self._forget(due, scene.operation if scene is not None else None)

    async def _operation(self, due: Due) -> None:
        operation = await self._m.ledger.operation(due.name)
        if operation is None:
            await self._forget(due)
            return
        match operation.state:
            case State.SUBMITTING:
                await lease_ran_out(self._m, operation)
            case State.IN_DOUBT:
                await settle(self._m, operation)
            case State.RUNNING if operation.verdict is not None:
                await count_nodes(self._m, operation)
            case _:
                await self._forget(due, operation)

    async def _plan(self, cluster_id: str) -> Scene | None:
        m, plan, scene = self._m, Plan(Changes()), None

        async def build() -> Changes:
            nonlocal plan, scene
            demand = await m.ledger.demand(cluster_id)
            make = partial(
                plan_cluster,
                demand.cluster,
                demand.account,
                demand.waiting,
                now=m.clock.now_ms(),
                coalesce_ms=round(m.settings.coalesce_window_s * 1000),
                lease_ms=m.lease_ms,
                probe_ms=round(m.settings.retry_backoff_s * 1000),
                operation_id=f"op-{secrets.token_hex(8)}",
                pauses=demand.pauses,
            )
            plan = await within_policy(m, demand.cluster, lambda guard: make(guard=guard))
            if plan.operation is not None:
                scene = demand.scene_of(plan.operation)
            return plan.changes

        await m.commit_current(build)
        return scene.after(plan.changes) if plan.operation is not None and scene is not None else None

    async def _deadline(self, due: Due) -> None:
        m = self._m

        async def build() -> Changes | None:
            request = await m.ledger.request(due.name)
            changes = Changes()
            if request is None or request.ended:
                changes.due[due] = None
            elif request.deadline_at > m.clock.now_ms():
                changes.due[due] = request.deadline_at
            else:
                expire_request(changes, request, m.clock.now_ms())
            return changes

        await m.commit_current(build)

    async def _forget(self, due: Due, operation: Operation | None = None) -> None:
        changes = Changes(checks=[] if operation is None else [operation])
        changes.due[due] = None
        await self._m.commit(changes)
