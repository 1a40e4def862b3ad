"""Pauses and breakers in the simulated world: people who pause and resume, and what must hold then."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from tasks import admin
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING, Pause
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation
from tests.simulation.steps import WRITES

if TYPE_CHECKING:
    from tests.simulation.world import Worker, World

T = TypeVar("T")

FAILURES_IN_A_ROW = 5
FIRST_PAUSE_MS = 60_000
LONGEST_PAUSE_MS = 3_600_000


def at_once(worker: Worker) -> Ledger:
    """The ledger of somebody whose commands are carried out where they are given, with no turn between."""

    async def io(label: str, effect: Callable[[], T], *, again: bool = False) -> T:
        result = effect()
        worker.world.dirty = worker.world.dirty or label in WRITES
        return result

    worker.io = io  # type: ignore[method-assign]
    return worker.ledger


async def pause(ledger: Ledger, scope: str, lasting_s: float | None) -> None:
    await admin.pause(ledger, _cluster_of(scope), by="somebody", reason="by chance", lasting_s=lasting_s)


async def resume(ledger: Ledger, scope: str) -> None:
    await admin.resume(ledger, _cluster_of(scope), by="somebody")


def _cluster_of(scope: str) -> str | None:
    return None if scope == EVERYTHING else scope


class StopInvariants:
    """Nothing is planned or written as `submitting` while it is paused, and a broken pool is only probed.

    Called after every write, so that whatever is new has come about in it. A sending that had been written
    before the pause may still leave.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._planned: set[str] = set()
        self.submitting: set[str] = set()
        self._ended: set[str] = set()
        self._failures: Counter[tuple[str, str]] = Counter()
        self._failed_at: dict[tuple[str, str], int] = {}
        self._pools: dict[str, tuple[str, str]] = {}
        self.probes: list[str] = []

    def forget_failures(self, cluster_id: str) -> None:
        """A person is about to say that the cluster is mended."""
        for pool in [pool for pool in self._failures if pool[0] == cluster_id]:
            del self._failures[pool]

    def check(self, operations: Mapping[str, Operation]) -> None:
        paused = self._paused()
        for name, operation in sorted(operations.items(), key=lambda item: item[1].planned_at):
            stopped = {EVERYTHING, operation.cluster_id} & paused
            if name not in self._planned:
                self._planned.add(name)
                self._world.invariants.demand(not stopped, f"{name} was planned while {stopped} is paused")
                self._check_probe(operation)
            if operation.sent_at is not None and name not in self.submitting:
                self.submitting.add(name)
                self._world.invariants.demand(not stopped, f"{name} is being sent while {stopped} is paused")
            if operation.ended and name not in self._ended:
                self._ended.add(name)
                self._count(operation)

    def _paused(self) -> set[str]:
        server, now = self._world.server, self._world.clock.now_ms()
        found = set()
        for key in server.keys("scaleout:pause:*"):
            record = Pause.model_validate_json(server.hget(key, "content") or "")
            if record.in_force(now):
                found.add(record.scope)
        return found

    def _check_probe(self, operation: Operation) -> None:
        requests = self._world.invariants.requests
        pool = (operation.cluster_id, requests[operation.request_ids[0]].pool)
        self._pools[operation.operation_id] = pool
        failures = self._failures[pool]
        if failures < FAILURES_IN_A_ROW:
            return
        self.probes.append(operation.operation_id)
        demand, name = self._world.invariants.demand, operation.operation_id
        waited = operation.planned_at - self._failed_at[pool]
        least = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - FAILURES_IN_A_ROW))
        demand(waited >= least, f"{name} was planned {waited} ms after {failures} failures in a row")
        whole = requests[operation.request_ids[0]].valid_spec
        small = operation.node_count == 1 or whole.exclusive or whole.on_shortage == "fail"
        demand(len(operation.allocations) == 1 and small, f"{name} is no small probe: {operation.node_count}")

    def _count(self, operation: Operation) -> None:
        pool = self._pools[operation.operation_id]
        rejected = operation.reason is not None and operation.reason.kind == "rejected"
        if operation.state is State.FAILED or (operation.state is State.REFUSED and rejected):
            self._failures[pool] += 1
            self._failed_at[pool] = operation.finished_at or 0
        elif operation.state is State.SUCCEEDED:
            self._failures[pool] = 0


def paused_scopes(world: World) -> list[str]:
    """As the ledger has them: whoever paused may not live to know it."""
    keys = sorted(map(str, world.server.keys("scaleout:pause:*")))
    contents = (json.loads(world.server.hget(key, "content") or "{}") for key in keys)
    return [content["scope"] for content in contents if content.get("paused")]
