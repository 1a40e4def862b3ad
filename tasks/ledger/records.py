"""The ledger's records. Each carries the version it was read at; a commit writes the next. Times in ms."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from tasks.contract.outcome import OutcomeStatus
from tasks.contract.request import RequestContent
from tasks.ledger.due import Due, DueKind
from tasks.ledger.events import Event, Level
from tasks.ledger.pools import pool_of
from tasks.ledger.record import Record
from tasks.ledger.record_values import (
    FINAL,
    MAX_CLOCK_STEP_MS,
    Allocation,
    Assignment,
    Breaker,
    Candidate,
    Doubt,
    JobResult,
    NodeCount,
    Reason,
    State,
)
from tasks.limits.usage import UsageCounter

MAX_READ_OF_A_POOL = 128  # requests; an operation serves at most 99


class Request(Record):
    """A request and its progress. `unassigned_nodes` are in no operation yet.

    Fields:
        not_before: the request takes no nodes until then, after a shortage or over a limit.
        max_nodes_per_call: after a shortage with `partial`, the maximum number of nodes of one call.
        exclusive: after a shortage of a shared operation, it shares none any more.
        counter: where its nodes count for `nodes_in_flight_per_cluster`.
        traceparent: the W3C trace context that its steps belong to.
    """

    request_id: str
    spec: RequestContent | None = None
    fingerprint: str
    accepted_at: int
    deadline_at: int
    unassigned_nodes: int = 0
    assignments: tuple[Assignment, ...] = ()
    refusals: int = 0
    not_before: int = 0
    consecutive_failures: int = 0
    max_nodes_per_call: int | None = None
    exclusive: bool = False
    cancelled: bool = False
    last_reason: Reason | None = None
    counter: UsageCounter | None = None
    status: OutcomeStatus | None = None
    finished_at: int | None = None
    traceparent: str | None = None

    @property
    def identity(self) -> str:
        return self.request_id

    @property
    def valid_spec(self) -> RequestContent:
        """The valid request. Raises ValueError for one that was rejected as invalid: it has none."""
        if self.spec is None:
            raise ValueError(f"request {self.request_id} was rejected as invalid and has no valid content")
        return self.spec

    @property
    def ended(self) -> bool:
        return self.status is not None

    @property
    def live_assignments(self) -> tuple[Assignment, ...]:
        return tuple(part for part in self.assignments if part.state not in FINAL)

    @property
    def nodes_added(self) -> int:
        return sum(part.nodes_added for part in self.assignments)

    @property
    def pool(self) -> str:
        return pool_of(self.valid_spec)

    def assignment_in(self, operation_id: str) -> Assignment:
        """Return its part of an operation that serves it."""
        return next(part for part in self.assignments if part.operation_id == operation_id)

    def with_assignment(self, operation: Operation, **update: object) -> Self:
        """Return the request with its part of `operation` changed; state and job are the operation's."""
        update = {"state": operation.state, "job_id": operation.job_id, **update}
        parts = tuple(
            part.model_copy(update=update) if part.operation_id == operation.operation_id else part
            for part in self.assignments
        )
        return self.model_copy(update={"assignments": parts})

    def without_assignment(self, operation: Operation) -> Self:
        """Return the request without its part of an operation that started no job."""
        parts = tuple(part for part in self.assignments if part.operation_id != operation.operation_id)
        return self.model_copy(update={"assignments": parts})


class Operation(Record):
    """One addNodes call and the job it starts. It is sent at most once, ever.

    Fields:
        baseline: ids of the jobs that the cluster's log showed just before the call.
        baseline_complete: that listing showed all jobs, as far as can be told.
        change_under_way: it showed a job that had not ended.
        listed_since: how far back that listing reached.
        sent_at: the time that the call was signed with.
        body: the body that was sent.
        insisted: an operator has named the job again that the provider does not show the end or the nodes of:
            it ends with what can be told.
        absent_since: when a complete listing first showed no job of it, once silence counts.
    """

    operation_id: str
    cluster_id: str
    zone: str
    node_role: str
    state: State = State.PLANNED
    allocations: tuple[Allocation, ...]
    planned_at: int
    counters: tuple[UsageCounter, ...] = ()
    attempts: int = 0
    baseline: tuple[str, ...] | None = None
    baseline_complete: bool = True
    change_under_way: bool = False
    listed_since: int | None = None
    sent_at: int | None = None
    body: str | None = None
    job_id: str | None = None
    job_result: JobResult | None = None
    doubt: Doubt | None = None
    candidates: tuple[Candidate, ...] = ()
    absent_since: int | None = None
    insisted: bool = False
    held_reason: str | None = None
    reason: Reason | None = None
    nodes_added: int = 0
    node_ids: tuple[str, ...] = ()
    error_codes: str = ""
    finished_at: int | None = None

    @property
    def identity(self) -> str:
        return self.operation_id

    @property
    def shown_since(self) -> int | None:
        """How far back (ms) a listing reaches that shows its job; None if no listing came before its call.

        An earlier version may have written a later `listed_since`, by a clock that was ahead.
        """
        if self.listed_since is None or self.sent_at is None:
            return self.listed_since
        return min(self.listed_since, self.sent_at - MAX_CLOCK_STEP_MS)

    @property
    def node_count(self) -> int:
        return sum(allocation.node_count for allocation in self.allocations)

    @property
    def request_ids(self) -> tuple[str, ...]:
        return tuple(allocation.request_id for allocation in self.allocations)

    @property
    def ended(self) -> bool:
        return self.state in FINAL

    @property
    def due(self) -> Due:
        """The entry of the due set that brings the operation up."""
        kind = DueKind.SUBMISSION if self.state is State.PLANNED else DueKind.OPERATION
        return Due(kind, self.operation_id)

    def event(self, name: str, level: Level = "info", **fields: object) -> Event:
        """Return an event about the operation, with the fields that every such event has."""
        about: dict[str, object] = {
            "operation_id": self.operation_id,
            "job_id": self.job_id,
            "cluster_id": self.cluster_id,
            "zone": self.zone,
            "node_count": self.node_count,
        }
        return Event(name, level, requests=self.request_ids, fields={**about, **fields})


class Cluster(Record):
    """A cluster's lock, and what is known of the cluster.

    Fields:
        locked_by: the operation that may change the cluster; no other is planned until it ends.
        doubt_since: when the first of its operations was sent whose doubt may still matter.
        changed_at: when an operation last ended here that may have added nodes.
        breakers: circuit breakers by pool.
    """

    cluster_id: str
    zone: str | None = None
    locked_by: str | None = None
    doubt_since: int | None = None
    changed_at: int = 0
    not_before: int = 0
    consecutive_failures: int = 0
    wait_reason: Reason | None = None
    breakers: dict[str, Breaker] = Field(default_factory=dict)
    last_operation: str | None = None
    nodes: NodeCount | None = None

    @property
    def identity(self) -> str:
        return self.cluster_id

    @property
    def due(self) -> Due:
        return Due(DueKind.CLUSTER, self.cluster_id)


class Arrivals(Record):
    """Its version moves whenever a request arrives for the cluster; it says nothing else."""

    cluster_id: str

    @property
    def identity(self) -> str:
        return self.cluster_id


class Account(Record):
    """Whether the provider blocks the account, and when the next call may try."""

    blocked_since: int | None = None
    not_before: int = 0
    consecutive_failures: int = 0
    reason: Reason | None = None

    @property
    def identity(self) -> str:
        return ""


class Zone(Record):
    """What polling has learned of a zone.

    Fields:
        action_seen: its log has shown a job under the action name of the settings.
        failures: polls that failed in a row.
        pages, rows, page_rows: calls of the last poll, rows that it had to read, and rows of a page.
        resume_offset: where the next poll resumes, for the jobs `unseen` until then.
        missing: jobs that the log does not show, by since when.
    """

    zone: str
    action_seen: bool = False
    failures: int = 0
    pages: int = 0
    rows: int = 0
    page_rows: int = 100
    resume_offset: int = 0
    unseen: tuple[str, ...] = ()
    missing: dict[str, int] = Field(default_factory=dict)

    @property
    def identity(self) -> str:
        return self.zone
