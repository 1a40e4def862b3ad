"""What is written back when a request ends. Other programs read this shape."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

OutcomeStatus = Literal["succeeded", "partially_succeeded", "failed", "timed_out", "rejected", "cancelled"]
OperationStatus = Literal["running", "succeeded", "failed", "held"]

LATE_NODES = "late_nodes"


class _Shape(BaseModel):
    # Readers may rely on every field: those with a default are written too.
    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class OutcomeOperation(_Shape):
    """One job at the provider, with this request's share of its nodes."""

    operation_id: str
    job_id: str | None
    node_count: int = Field(description="This request's share of the operation's nodes")
    status: OperationStatus
    error_codes: str
    submitted_at: str | None
    finished_at: str | None


class OutcomeError(_Shape):
    """Why a request did not get all of its nodes."""

    code: int | None = Field(description="The provider's ret_code, if the provider refused")
    kind: str
    message: str


class Outcome(_Shape):
    """How a request ended. Times are UTC, ISO 8601 with milliseconds."""

    model_config = ConfigDict(title="Outcome of a scale-out request")

    version: Literal[1] = 1
    request_id: str
    cluster_id: str | None
    zone: str | None
    node_role: str | None
    status: OutcomeStatus
    nodes_requested: int | None
    nodes_added: int
    node_ids: list[str] = Field(default_factory=list)
    operations: list[OutcomeOperation] = Field(default_factory=list)
    refusals: int = Field(default=0, description="Calls that started no job")
    error: OutcomeError | None = None
    requested_by: str | None = None
    accepted_at: str | None
    finished_at: str
    duration_s: float
