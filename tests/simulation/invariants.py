"""What must hold after every step, whatever has gone wrong: checked against the provider's truth."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from tasks.ledger.ledger import CONTINUES_MS
from tasks.ledger.pauses import Pause
from tasks.ledger.record_values import FINAL, State
from tasks.ledger.records import Operation, Request
from tasks.runtime.clock import MAX_STEP_MS, Clock
from tests.simulation import limits
from tests.simulation.blocker_invariants import BlockerInvariants

if TYPE_CHECKING:
    from tests.simulation.world import World

EARLY_MS = CONTINUES_MS + MAX_STEP_MS
SENDABLE = frozenset({State.SUBMITTING, State.IN_DOUBT, State.HELD, *FINAL, State.RUNNING})


class Broken(AssertionError):  # noqa: N818 - says what happened
    """A promise is broken; the text has the history that led to it."""


# One round trip for all that a check polls at: a search makes some hundred checks a history.
NEXT_DUE = """
local due = false
for _, lane in ipairs({'submissions', 'all-else'}) do
  local first = redis.call('ZRANGE', 'scaleout:due:' .. lane, 0, 0, 'WITHSCORES')
  if #first > 0 then
    local at = math.max(first[2], tonumber(redis.call('GET', 'scaleout:rest:' .. lane) or 0))
    due = due and math.min(due, at) or at
  end
end
"""
READ_ALL = f"""
{NEXT_DUE}
local rows = {{}}
for _, kind in ipairs({{'operation', 'request', 'pause'}}) do
  local names = redis.call('KEYS', 'scaleout:' .. kind .. ':*')
  table.sort(names)
  for _, name in ipairs(names) do
    rows[#rows + 1] = kind
    rows[#rows + 1] = redis.call('HGET', name, 'content') or ''
  end
end
return {{rows, due, redis.call('KEYS', 'scaleout:meter:*:nodes')}}
"""
Seen = Operation | Request | Pause
MODELS: dict[str, type[Seen]] = {"operation": Operation, "request": Request, "pause": Pause}


class Invariants:
    """`next_due`: when (ms) the ledger's first entry is due, as of the last reading."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._read_all = str(world.server.script_load(READ_ALL))
        self._next_due = str(world.server.script_load(f"{NEXT_DUE} return due"))
        self._parsed: dict[str, Seen] = {}
        self.next_due: int | None = None
        self.broken: Broken | None = None
        self._ended: dict[str, str] = {}
        self._jobs: dict[str, str] = {}
        self._outcomes: dict[str, str] = {}
        self.operations: dict[str, Operation] = {}
        self.requests: dict[str, Request] = {}
        self.pauses: list[Pause] = []
        self.node_meters: list[str] = []
        self.blockers = BlockerInvariants(world)

    def demand(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken = self.broken or Broken(f"{what}\n{self._world.history()}")
            raise self.broken

    def demand_all_has_held(self) -> None:
        """A promise may have been broken inside a worker, whose code continues after any exception."""
        if self.broken is not None:
            raise self.broken

    def look_at_due(self) -> None:
        due = self._world.direct.run("EVALSHA", self._next_due, 0)
        self.next_due = int(due) if due else None

    def read(self) -> None:
        """Read the whole ledger."""
        rows, due, self.node_meters = self._world.direct.run("EVALSHA", self._read_all, 0)
        self.next_due = int(due) if due else None
        before, self._parsed = self._parsed, {}
        self.operations, self.requests, self.pauses = {}, {}, []
        for kind, content in zip(rows[::2], rows[1::2], strict=True):
            if not content:
                continue
            record = before.get(content) or MODELS[kind].model_validate_json(content)
            self._parsed[content] = record
            if isinstance(record, Operation):
                self.operations[record.operation_id] = record
            elif isinstance(record, Request):
                self.requests[record.request_id] = record
            else:
                self.pauses.append(record)

    def operation_being_sent(self, zone: str, body: bytes, sent_at: datetime, clock: Clock) -> str:
        """The operation whose sending is leaving a worker just now: it has to be written already.

        `clock`: the worker's, by which `sent_at` is.
        """
        self.read()
        cluster_id = json.loads(body)["cluster_id"]
        sent_ms = round(sent_at.timestamp() * 1000)
        found = [
            operation
            for operation in self.operations.values()
            if operation.cluster_id == cluster_id
            and operation.zone == zone
            and operation.sent_at == sent_ms
            and operation.body == body.decode()
        ]
        self.demand(bool(found), f"{body.decode()} is sent without a record that says so")
        names = [sending.operation_id for sending in self._world.provider.sendings]
        unsent = [operation for operation in found if operation.operation_id not in names]
        self.demand(bool(unsent), f"operation {found[0].operation_id} is sent twice")
        # Another one, of the same second and the same content, may have been refused a connection.
        operation = min(unsent, key=lambda candidate: candidate.ended)
        cancelled = self._world.cancelled_at
        truly_ms = sent_ms + self._world.clock.now_ms() - clock.now_ms()
        self.demand(
            any(cancelled.get(name, truly_ms) + 1000 > truly_ms for name in operation.request_ids),
            f"operation {operation.operation_id} is sent, though all its requests had been cancelled",
        )
        return operation.operation_id

    def check(self) -> None:
        self.read()
        self._check_operations()
        self._check_requests()
        self.blockers.check(self.operations, self.pauses)
        for what in limits.broken(self._world, self.operations, self.requests):
            self.demand(False, what)
        for what in limits.miscounted(self._world, self.node_meters):
            self.demand(False, what)
        provider = self._world.provider
        self.demand(provider.refused_by_right_clock == 0, "more calls were made than the quota has")

    def _check_operations(self) -> None:
        provider = self._world.provider
        open_gates: dict[str, str] = {}
        for name, operation in self.operations.items():
            if operation.ended:
                content = operation.content()
                before = self._ended.setdefault(name, content)
                self.demand(before == content, f"operation {name} had ended and was changed")
            else:
                other = open_gates.setdefault(operation.cluster_id, name)
                self.demand(other == name, f"operations {other} and {name} change one cluster at a time")
            if operation.job_id is not None:
                owner = self._jobs.setdefault(operation.job_id, name)
                self.demand(owner == name, f"job {operation.job_id} belongs to {owner} and to {name}")
                truly = provider.owner(operation.job_id)
                self.demand(truly == name, f"{name} took job {operation.job_id}, which is {truly}'s")
            jobs = provider.jobs_of(name)
            self.demand(len(jobs) <= 1, f"operation {name} was carried out {len(jobs)} times")
            if operation.state in (State.REFUSED, State.NOT_EXECUTED, State.ABANDONED):
                self.demand(not jobs, f"operation {name} is {operation.state}, but made job {jobs}")
        for sending in provider.sendings:
            self.demand(sending.operation_id in self.operations, f"{sending.operation_id} is gone")

    def _check_requests(self) -> None:
        for name, request in self.requests.items():
            if request.spec is None:
                continue
            requested = request.spec.node_count
            self.demand(request.nodes_added <= requested, f"request {name} got more nodes than it requested")
            allotted = request.unassigned_nodes + sum(part.node_count for part in request.assignments)
            self.demand(
                allotted <= requested, f"request {name} requested {requested} and has {allotted} on their way"
            )
            if request.ended:
                self.demand(request.unassigned_nodes == 0, f"request {name} has ended and still wants nodes")
                self._check_deadline(name, request)
                status = self._outcomes.setdefault(name, str(request.status))
                self.demand(
                    status == request.status, f"request {name} ended as {status} and {request.status}"
                )
        for task_id, request_id in self._world.accepted.items():
            self.demand(
                request_id in self.requests, f"request {request_id} of {task_id} was accepted and lost"
            )

    def _check_deadline(self, name: str, request: Request) -> None:
        """No request ends before its time, whatever a clock says; one may be a minute ahead unnoticed.

        Two clocks that are wrong by the same are believed, and any by the first workers of all.
        """
        if self._world.clocks_mislead:
            return
        accepted_at = self._world.accepted_at.get(name)
        if name in self._outcomes or accepted_at is None or request.status != "timed_out":
            return
        lasted, wanted = self._world.clock.now_ms() - accepted_at, request.deadline_at - request.accepted_at
        self.demand(lasted >= wanted - EARLY_MS, f"request {name} timed out after {lasted} of {wanted} ms")

    def check_end(self) -> None:
        """At the end, with all faults over: nothing is left, and what was bought is what was said."""
        world = self._world
        self.check()
        for name, request in self.requests.items():
            self.demand(request.ended, f"request {name} never ended")
        for name, operation in self.operations.items():
            self.demand(operation.ended, f"operation {name} never ended: {operation.state}")
        for name in self.requests:
            outcome = world.server.get(f"scaleout:outcome:{name}")
            self.demand(outcome is not None, f"request {name} has no outcome")
        for key in map(str, world.server.keys("scaleout:cluster:*")):
            content = json.loads(world.server.hget(key, "content") or "{}")
            self.demand(content.get("locked_by") is None, f"{key} stays locked")
        for kind in (
            "due:submissions",
            "due:all-else",
            "outbox",
            "held",
            "open",
            "paused",
            "parked:everything",
        ):
            left = world.server.zrange(f"scaleout:{kind}", 0, -1)
            self.demand(not left, f"left in {kind}: {left}")
        for task_id, request_id in world.accepted.items():
            self.demand(
                task_id in world.published, f"{task_id}, who waits for {request_id}, was never notified"
            )
        for what in limits.in_flight_for_good(world):
            self.demand(False, what)
        journal = [json.loads(line) for line in world.server.lrange("scaleout:journal", 0, -1)]
        restored = [line["key"] for line in journal if line["event"] == "index_restored"]
        if world.faults["server clock steps"]:
            # Entries that were written by a clock far ahead are pulled in: their key has the entry too.
            # And requests that seemed past their deadline are planned again once the clock is set back.
            restored = [key for key in restored if " " not in key and key != "scaleout:due:submissions"]
        self.demand(not restored, f"index entries were restored, though none had been lost: {restored}")
        self._check_nodes()

    def _check_nodes(self) -> None:
        provider = self._world.provider
        provider.cloud.end_due_jobs()
        made = sum(
            provider.cloud.jobs[sending.job_id].made for sending in provider.sendings if sending.job_id
        )
        said = sum(request.nodes_added for request in self.requests.values())
        # Nodes that no log names are counted by their times, which a step of the provider's clock spoils.
        spoiled = self._world.faults["clock steps"] and provider.options.node_ids_in_log == "never"
        told = said <= made if spoiled else said == made
        self.demand(told, f"{made} nodes were made, and the outcomes account for {said}")
        for name, request in self.requests.items():
            if request.status == "succeeded" and request.spec is not None:
                given = request.nodes_added
                self.demand(given == request.spec.node_count, f"{name} succeeded with {given} nodes")
