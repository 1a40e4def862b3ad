"""What programs are shown beside requests and outcomes, by `--json` and by other surfaces.

Times are UTC, ISO 8601 with milliseconds; fields that end in `_s` are seconds. No field is ever left out.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.contract.outcome import Outcome, OutcomeError, OutcomeStatus

NotEnded = Literal["waiting", "in_progress", "held"]
State = Literal[NotEnded, OutcomeStatus]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class StatusReason(_Document):
    """What a request waits for."""

    kind: str
    message: str
    until: str | None = Field(description="Its end, or the next attempt, if that is known")
    remedy: str | None = Field(description="A command that helps")


class AssignedOperation(_Document):
    """An operation that serves the request."""

    operation_id: str
    state: str
    job_id: str | None


class StatusDocument(_Document):
    """What a request's state is; `outcome` once it has ended."""

    version: Literal[1]
    request_id: str
    state: State
    cluster_id: str | None
    zone: str | None
    node_role: str | None
    nodes_requested: int | None
    nodes_added: int
    nodes_in_progress: int = Field(description="Nodes of operations that were sent and have not ended")
    requested_by: str | None
    accepted_at: str
    deadline_at: str
    cancelled: bool = Field(description="It gets no further nodes; what was sent goes on to its end")
    reason: StatusReason | None
    operations: list[AssignedOperation]
    outcome: Outcome | None


class HistoryEvent(BaseModel):
    """One event; further fields depend on it."""

    model_config = ConfigDict(extra="allow")

    at: str
    event: str


class Attempt(_Document):
    """An operation that served a request. Numbers of nodes are the operation's."""

    operation_id: str
    at: str
    until: str
    state: str
    job_id: str | None
    node_count: int | None
    nodes_added: int | None
    ret_code: int | None
    error_codes: str | None
    by: str | None
    reason: str | None
    last_error: str | None


class HistoryEntry(_Document):
    """One request in a list of many."""

    request_id: str
    state: State
    requested_by: str | None
    cluster_id: str | None
    zone: str | None
    node_role: str | None
    nodes_requested: int | None
    nodes_added: int
    accepted_at: str
    finished_at: str | None
    duration_s: float | None
    attempts: list[Attempt]
    refusals: int
    error: OutcomeError | None


class PoolStats(_Document):
    """The last hundred operations of a pool."""

    cluster_id: str
    zone: str
    node_role: str
    resource_conf: dict[str, Any] | None
    operations: int
    failed: int
    failure_rate: float | None
    p50_s: float | None
    p90_s: float | None
    nodes_added: int
    since: str | None
    until: str | None


class QuotaClass(_Document):
    """API calls for one purpose."""

    used: int
    limit: int
    next_free_at: str


class Quota(_Document):
    """The account's API calls in the last period."""

    limit: int
    period_s: float
    used: int
    left: int
    exhausted_until: str | None = Field(description="The provider refuses calls until then")
    by_class: dict[str, QuotaClass]


class PlannedLoad(_Document):
    """What is wanted of the account."""

    jobs_per_hour: int
    clusters: int
    zones: int
    nodes_per_job: int
    requests_per_job: int
    job_duration_s: float


class PlannedCalls(_Document):
    """API calls in an hour."""

    polling: int
    submissions: int
    submissions_at_most: int
    left: int


class QuotaPlan(_Document):
    """What a load takes of the account. If it does not fit, figures are of the jobs that are served."""

    load: PlannedLoad
    limit: int
    period_s: float
    fits: bool
    limited_by: list[Literal["quota", "clusters"]] = Field(description="What does not suffice")
    running_jobs: int = Field(description="Jobs that run at once, on average")
    poll_interval_s: float
    calls_per_hour: PlannedCalls
    mean_delay_s: float = Field(description="From a job's end to its outcome")
    worst_delay_s: float = Field(description="The same at most, if an hour's jobs come together")
    max_jobs_per_hour: int
    max_nodes_per_hour: int
    max_requests_per_hour: int
    redis_mb: int
    worker_cpu_percent: float = Field(description="Of one core")
    workers: int = Field(description="By their CPU")


class Blocker(_Document):
    """What stops new operations: a pause, an open circuit breaker, a blocked account."""

    kind: Literal["pause", "breaker", "account"]
    scope: str = Field(description="`everything`, or a cluster's id")
    by: str
    reason: str | None
    since: str
    until: str | None
    text: str


class CandidateJob(_Document):
    """A job that an operation in doubt may have become."""

    job_id: str
    job_action: str
    status: str
    created_at: str | None
    node_ids: list[str]
    nodes: int


class HeldOperation(_Document):
    """The evidence about an operation."""

    operation_id: str
    state: str
    held_since: str | None
    reason: str | None
    cluster_id: str
    zone: str
    sent_at: str | None
    sent: dict[str, Any] | None = Field(description="The body of the call")
    node_count: int
    response: str | None = Field(description="Why its response decides nothing")
    job_id: str | None
    baseline: list[str] | None = Field(description="The cluster's jobs before it was sent")
    candidates: list[CandidateJob]
    requests: dict[str, int] = Field(description="Nodes by request")


class Worker(_Document):
    """A worker of the last day. Where it has not said who it is, fields are null."""

    name: str
    alive: bool
    last_tick: str
    host: str | None
    pid: int | None
    version: str | None
    since: str | None
    policy_file: str | None
    policy: str | None = Field(description="Digest of the policy in force")
    clock_step_s: float | None


class Finding(_Document):
    """The result of one of doctor's checks."""

    check: str
    status: Literal["ok", "warning", "error"]
    detail: str
    unreachable: bool


class Beat(_Document):
    """When a worker has ticked."""

    worker: str
    last_tick: str
    seconds_ago: float


class Health(_Document):
    """Whether a worker ticks."""

    healthy: bool
    workers: list[Beat]


class Occurrence(_Document):
    """A time of a schedule; the request is made at `requested_at`."""

    local: str
    utc: str
    requested_at: str


class LastOccurrence(_Document):
    """How the last occurrence was handled."""

    result: Literal["requested", "enough", "missed"]
    occurrence: str
    at: str
    request_id: str | None
    node_count: int
    present: int | None
    on_its_way: int | None
    missed: int
    state: State | None


class Schedule(_Document):
    """A schedule in force, or of the file here."""

    name: str
    mode: Literal["add", "ensure"]
    node_count: int
    node_role: str
    cluster_id: str
    zone: str
    cron: str
    timezone: str
    ready_by: bool
    lead_time_s: int
    next: list[Occurrence]
    last: LastOccurrence | None
    note: str | None


class Triggered(_Document):
    """The request that a schedule has made; null if there were enough nodes."""

    request_id: str | None
    node_count: int


class TriggerPlan(_Document):
    """What a schedule would request now."""

    dry_run: Literal[True]
    schedule: str
    mode: Literal["add", "ensure"]
    node_count: int
    present: int | None
    on_its_way: int | None
    operations: list[int] = Field(description="Nodes of each operation")
    lead_time_s: int
    rejected: str | None
    request: dict[str, Any] | None


class PolicyShown(BaseModel):
    """The policy with its defaults; its tables are those of the policy file."""

    model_config = ConfigDict(extra="allow")

    file: str | None
    limits: dict[str, Any]
    allow: dict[str, Any]
    schedules: list[dict[str, Any]]


class PolicyCheck(_Document):
    """The mistakes of a policy file."""

    file: str
    problems: list[str]
    schedules: list[str]


class DeadLetter(_Document):
    """A message that could not be read."""

    id: str
    at: str | None
    reason: str
    queue: str | None
    task_id: str | None
    whole: bool = Field(description="Whether `item` is all of it, so that it can be sent again")
    item: str


class Requeued(_Document):
    """A message that was sent again."""

    id: str
    queue: str
    requeued: Literal[True]


class Cleared(_Document):
    """How many messages were forgotten."""

    cleared: int


class Webhook(_Document):
    """A webhook in force, and how it fares."""

    name: str
    url: str = Field(description="Without path: the rest may be a secret")
    events: list[str]
    producers: list[str] | None
    pending: int = Field(description="Subjects with something to deliver")
    next_at: str | None = Field(description="When something is delivered next")
    delivered: int
    failures: int = Field(description="In a row")
    given_up: int = Field(description="Deliveries that failed for three days")
    dropped: int = Field(description="Deliveries for which there was no room")
    last_delivered_at: str | None
    last_failure_at: str | None
    last_failure: str | None
    disabled: str | None = Field(description="Why it is told of nothing until `webhooks enable`")


class WebhookTest(_Document):
    """Whether a test message was delivered; null if no attempt was made in the time."""

    webhook: str
    delivered: bool | None
    detail: str


class WebhookReplay(_Document):
    """How many outcomes are told again."""

    webhook: str
    outcomes: int


class WebhookEnabled(_Document):
    """A webhook that is told of things again."""

    webhook: str
    enabled: Literal[True]


class LedgerCopy(_Document):
    """A copy of the ledger in a file."""

    file: str
    keys: int


class NewToken(_Document):
    """A token of the gateway, which is shown this once."""

    name: str
    role: Literal["read", "submit", "operate"]
    token: str
    table: str = Field(description="What to add to the tokens file")


class DemoReport(_Document):
    """What the demo has done."""

    outcomes: list[Outcome]
    nodes: int
    api_calls: dict[str, int]


class ErrorDetail(_Document):
    """Why nothing was done: a sentence for each problem."""

    kind: Literal["invalid", "conflict", "usage", "not_found", "unreachable", "failed"]
    problems: list[str]


class Error(_Document):
    """A command that could not be carried out."""

    error: ErrorDetail
