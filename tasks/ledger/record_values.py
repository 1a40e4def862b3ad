"""Values that records are made of. Times in ms since 1970."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

# A job that is made while the provider's clock is behind is listed as an earlier one: by an hour if the clock
# was an hour ahead when the call was signed. Of a cluster whose jobs take 40 s or more this is one page.
MAX_CLOCK_STEP_MS = 3_900_000


class State(StrEnum):
    """An operation's state; `tasks/state_machine/states.py` explains each and holds the transitions."""

    PLANNED = "planned"
    SUBMITTING = "submitting"
    IN_DOUBT = "in_doubt"
    RUNNING = "running"
    HELD = "held"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_EXECUTED = "not_executed"
    ABANDONED = "abandoned"


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.REFUSED, State.NOT_EXECUTED, State.ABANDONED})
WITH_JOB = frozenset({State.RUNNING, State.SUCCEEDED, State.FAILED})


class Value(BaseModel):
    """Part of a record. Fields that this version does not know are kept and written back."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Reason(Value):
    """Why a request or an operation waits, failed or was refused. `code`: the provider's ret_code."""

    kind: str
    message: str
    code: int | None = None


class Assignment(Value):
    """The part of one operation that belongs to one request. `state` and `job_id` are the operation's."""

    operation_id: str
    node_count: int
    state: State
    job_id: str | None = None
    error_codes: str = ""
    submitted_at: int | None = None
    finished_at: int | None = None
    nodes_added: int = 0
    node_ids: tuple[str, ...] = ()


class Allocation(Value):
    """How many of an operation's nodes are for one request."""

    request_id: str
    node_count: int
    requested_by: str | None = None


class Doubt(Value):
    """Why it is unknown whether a call was executed."""

    since: int
    reason: str
    http_status: int | None = None
    ret_code: int | None = None


class Candidate(Value):
    """A job that reconciliation could not rule out: evidence for the operator who decides."""

    job_id: str
    job_action: str
    status: str
    created_at: int | None = None
    node_ids: tuple[str, ...] = ()


class JobResult(Value):
    """How a job ended, by the operation log; kept until it is known which nodes it added.

    `started_at` and `ended_at` are the provider's times, if the log has them.
    """

    successful: bool
    ended_at: int
    started_at: int | None = None
    error_codes: str = ""
    node_ids: tuple[str, ...] = ()


class NodeCount(Value):
    """How many nodes a cluster had at `at`, by listNodes, when `after` was its last operation."""

    present: int
    at: int
    after: str | None = None


class Breaker(Value):
    """The circuit breaker of a pool, kept from its first failure to its next success.

    Fields:
        opened: how often it has opened since; if not 0, the pool waits until `until` and then sends one small
            operation at a time until one succeeds.
        last_error: what explained the last failure.
    """

    zone: str
    node_role: str
    failures: int = 0
    failed_at: int = 0
    last_error: str = ""
    opened: int = 0
    since: int = 0
    until: int = 0

    @property
    def is_open(self) -> bool:
        return self.opened > 0


def distribute(allocations: Sequence[Allocation], nodes: int) -> list[int]:
    """Distribute `nodes` over the allocations in order, to each at most its node count."""
    parts = []
    for allocation in allocations:
        part = min(allocation.node_count, nodes)
        parts.append(part)
        nodes -= part
    return parts
