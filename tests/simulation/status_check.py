"""What `scaleout status` says of a request, compared with the provider's truth."""

from __future__ import annotations

import random
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasks.ledger.ledger import Ledger
from tasks.ledger.record_values import State
from tasks.ledger.records import Request
from tasks.views.read_status import read_status
from tasks.views.status import status_document
from tests.simulation.people import at_once
from tests.simulation.worker import Worker

if TYPE_CHECKING:
    from tests.simulation.world import World

ONE_IN = 8


class StatusCheck:
    """Looks at one request now and then, between two steps."""

    def __init__(self, world: World) -> None:
        self._world = world
        # Of its own, so that a history is the same whether somebody looks or not.
        self._rng = random.Random(world.seed)
        self._observer: Worker | None = None

    async def look(self) -> None:
        """Look at a request by chance. Raises Broken if its status is not true."""
        requests = self._world.invariants.requests
        if not requests or self._rng.randrange(ONE_IN):
            return
        name = self._rng.choice(sorted(requests))
        ledger = self._ledger()
        request = await ledger.request(name)
        assert request is not None
        status = await read_status(ledger, request)
        outcome = (await ledger.outcomes([name]))[0] if request.ended else None
        self._compare(request, status_document(request, status, outcome))

    def _ledger(self) -> Ledger:
        """Of somebody who knows the time, whatever the server says."""
        if self._observer is None:
            self._observer = Worker(self._world, "observer")
            self._observer.clock.observe(self._world.clock.now_ms())
            at_once(self._observer)
        return self._observer.ledger

    def _compare(self, request: Request, said: dict[str, Any]) -> None:
        self._demand(request.ended == (said["outcome"] is not None), said, "an outcome, once it has ended")
        self._check_nodes(request, said)
        if request.ended:
            self._demand(said["state"] == said["outcome"]["status"], said, "the outcome's status")
            return
        operations = self._world.invariants.operations
        live = [operations[part.operation_id] for part in request.live_assignments]
        sent = [operation for operation in live if operation.state is not State.PLANNED]
        held = any(operation.state is State.HELD for operation in live)
        expected = "held" if held else "in_progress" if sent else "waiting"
        self._demand(said["state"] == expected, said, f"the state {expected}")
        self._check_reason(said)

    def _check_nodes(self, request: Request, said: dict[str, Any]) -> None:
        world = self._world
        jobs = [job for part in request.assignments for job in world.provider.jobs_of(part.operation_id)]
        made = sum(world.provider.cloud.jobs[job].made for job in jobs)
        self._demand(said["nodes_added"] <= made, said, f"{made} nodes at most")
        if request.spec is not None:
            most = request.spec.node_count
            self._demand(said["nodes_added"] + said["nodes_in_progress"] <= most, said, f"{most} nodes")

    def _check_reason(self, said: dict[str, Any]) -> None:
        reason = said["reason"]
        self._demand(reason is not None, said, "a reason")
        if reason["until"] is not None:
            until_ms = datetime.fromisoformat(reason["until"]).timestamp() * 1000
            self._demand(until_ms >= self._world.clock.now_ms() - 1_000, said, "a time to come")
        if reason["kind"] == "job":
            jobs = {job for of in said["operations"] for job in [of["job_id"]] if job}
            known = [job for job in jobs if self._world.provider.owner(job)]
            self._demand(any(job in reason["message"] for job in known), said, f"a job among {known}")

    def _demand(self, holds: bool, said: dict[str, Any], expected: str) -> None:
        self._world.invariants.demand(holds, f"status should say {expected}, and says {said}")
