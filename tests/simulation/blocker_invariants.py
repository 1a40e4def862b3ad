"""What must hold while clusters are paused or a circuit breaker is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tasks.ledger.pauses import EVERYTHING, Pause
from tasks.ledger.record_values import State
from tasks.ledger.records import Operation

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_FAILURES = 5
FIRST_WAIT_MS = 60_000
MAX_WAIT_MS = 3_600_000


class BlockerInvariants:
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
        """An operator is about to say that the cluster is repaired."""
        for pool in [pool for pool in self._failures if pool[0] == cluster_id]:
            del self._failures[pool]

    def check(self, operations: Mapping[str, Operation], pauses: Iterable[Pause]) -> None:
        now = self._world.clock.now_ms()
        paused = {pause.scope for pause in pauses if pause.in_force(now)}
        for name, operation in sorted(operations.items(), key=lambda item: item[1].planned_at):
            stopped = {EVERYTHING, operation.cluster_id} & paused
            if name not in self._planned:
                self._planned.add(name)
                # A worker that began under a wrong clock may take a pause for over. It sends nothing.
                knows = not self._world.faults["server clock steps"]
                said = f"{name} was planned while {stopped} is paused"
                self._world.invariants.demand(not stopped or not knows, said)
                self._check_probe(operation, knows_time=knows)
            if operation.sent_at is not None and name not in self.submitting:
                self.submitting.add(name)
                self._world.invariants.demand(not stopped, f"{name} is being sent while {stopped} is paused")
            if operation.ended and name not in self._ended:
                self._ended.add(name)
                self._count(operation)

    def _check_probe(self, operation: Operation, *, knows_time: bool) -> None:
        requests = self._world.invariants.requests
        pool = (operation.cluster_id, requests[operation.request_ids[0]].pool)
        self._pools[operation.operation_id] = pool
        failures = self._failures[pool]
        if failures < MAX_FAILURES:
            return
        self.probes.append(operation.operation_id)
        demand, name = self._world.invariants.demand, operation.operation_id
        waited = operation.planned_at - self._failed_at[pool]
        least = min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - MAX_FAILURES))
        demand(
            waited >= least or not knows_time,
            f"{name} was planned {waited} ms after {failures} failures in a row",
        )
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
