"""One pass over the due set after another, as long as something is due."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from tasks.ledger.changes import Changes
from tasks.ledger.due import Due, DueKind
from tasks.ledger.records import Operation, State
from tasks.lifecycle.doubt import lease_ran_out, settle
from tasks.lifecycle.following import follow_zone
from tasks.lifecycle.headroom import within_policy
from tasks.lifecycle.machinery import Machinery
from tasks.lifecycle.node_census import count_nodes
from tasks.lifecycle.planning import Plan, plan_cluster
from tasks.lifecycle.publication import Deliver, publish_outbox
from tasks.lifecycle.request_end import expire_request
from tasks.lifecycle.schedule_firing import fire_schedule
from tasks.lifecycle.submission import submit

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
        self._working: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Lock()
        self._again = False
        self._stopping = False

    async def sweep(self) -> int:
        """Claim and start what is due; gives the number of entries started."""
        started = 0
        self._again = True
        if self._passing.locked():
            return 0
        async with self._passing:
            while self._again and not self._stopping:
                self._again = False
                started += await self._pass()
        return started

    def start(self, work: Coroutine[Any, Any, None], about: Due) -> None:
        """Work in the background, bounded only by the leases; when it is done the due set is swept again."""
        task = asyncio.create_task(self._guarded(work, about))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def plan_soon(self, due: Due) -> None:
        """Plan a cluster in the background, now, if there is room; else its due entry brings it up."""
        if len(self._working) < AT_ONCE and not self._stopping:
            self.start(self._work(due), due)

    async def plan(self, cluster_id: str) -> None:
        """Plan a cluster now, and send what was planned."""
        operation = await self._plan(cluster_id)
        if operation is not None:
            await submit(self._m, operation)

    async def drain(self, timeout_s: float) -> None:
        """Take on nothing more, and give what is under way `timeout_s` to come to its end."""
        self._stopping = True
        if not self._working:
            return
        _, late = await asyncio.wait(self._working, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _pass(self) -> int:
        started = 0
        while (room := AT_ONCE - len(self._working)) > 0 and not self._stopping:
            most = min(room, BATCH)
            entries = await self._m.ledger.claim_due(most, self._m.settings.submit_lease_s)
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
        await self._soon()

    async def _soon(self) -> None:
        """What one step makes due is taken up at once, not at the next tick."""
        if self._stopping:
            return
        task = asyncio.current_task()
        if task is not None:
            self._working.discard(task)
        await self.sweep()

    async def _work(self, due: Due) -> None:
        match due.kind:
            case DueKind.CLUSTER:
                await self.plan(due.name)
            case DueKind.OPERATION:
                await self._operation(due)
            case DueKind.ZONE:
                await follow_zone(self._m, due.name)
            case DueKind.REQUEST:
                await self._deadline(due)
            case DueKind.OUTBOX:
                await publish_outbox(self._m, self._deliver)
            case DueKind.SCHEDULE:
                await fire_schedule(self._m, due.name)

    async def _operation(self, due: Due) -> None:
        operation = await self._m.ledger.operation(due.name)
        if operation is None:
            await self._forget(due)
            return
        match operation.state:
            case State.PLANNED:
                await submit(self._m, operation)
            case State.SUBMITTING:
                await lease_ran_out(self._m, operation)
            case State.IN_DOUBT:
                await settle(self._m, operation)
            case State.RUNNING if operation.verdict is not None:
                await count_nodes(self._m, operation)
            case _:
                await self._forget(due, operation)

    async def _plan(self, cluster_id: str) -> Operation | None:
        m, plan = self._m, Plan(Changes())

        async def build() -> Changes:
            nonlocal plan
            # The cluster first: its version tells whether demand has come since.
            cluster = await m.ledger.cluster(cluster_id)
            account = await m.ledger.account()
            make = partial(
                plan_cluster,
                cluster,
                account,
                await m.ledger.demand(cluster_id),
                now=m.clock.now_ms(),
                coalesce_ms=round(m.settings.coalesce_window_s * 1000),
                lease_ms=m.lease_ms,
                probe_ms=round(m.settings.retry_backoff_s * 1000),
                operation_id=f"op-{secrets.token_hex(8)}",
            )
            plan = await within_policy(m, cluster, lambda guard: make(guard=guard))
            return plan.changes

        await m.commit_current(build)
        if plan.operation is None:
            return None
        return plan.operation.model_copy(update={"version": 1})

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
