"""The answer to a request with `dry_run`: its expected result."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.contract.outcome import OutcomeError


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class BrokenRule(_Shape):
    """A rule of the policy that the request breaks now."""

    rule: str = Field(description="Its key path in the policy")
    limit: int | list[str]
    present: int | str = Field(description="What the limit is compared with, without this request")
    requested: int
    waits: bool = Field(description="Whether the request would wait; otherwise it would be rejected")
    until: str | None = Field(description="When there is room, if that is known")
    message: str


class ExpectedDuration(_Shape):
    """From submission to the last node, if the pool's operations take as long as the last ones.

    Each operation of the request, and each that has to end before, takes what half of them (p50) or nine of
    ten (p90) did not exceed.
    """

    p50_s: float
    p90_s: float
    operations_seen: int


class ExpectedCalls(_Shape):
    """API calls. `polling` covers all jobs of a zone at once, and is null if no duration is known."""

    submitting: int
    counting: int
    polling: int | None


class DryRun(_Shape):
    """`accepted`: it would be bought in its turn; `waiting`: once a limit has room for it."""

    model_config = ConfigDict(title="Answer to a scale-out request with dry_run")

    version: Literal[1] = 1
    dry_run: Literal[True] = True
    request_id: str | None
    cluster_id: str | None = None
    zone: str | None = None
    node_role: str | None = None
    status: Literal["accepted", "waiting", "rejected"]
    nodes_requested: int | None = None
    error: OutcomeError | None = None
    broken_rules: list[BrokenRule] = Field(default_factory=list)
    known: bool = Field(
        default=False, description="The same request was accepted already: nothing more would be bought"
    )
    operations: list[int] = Field(default_factory=list, description="Nodes of each operation it would take")
    operations_before: int = Field(default=0, description="Operations of the cluster that would run before")
    nodes_present: int | None = Field(
        default=None, description="Nodes of the cluster when they were last counted, for a limit"
    )
    counted_at: str | None = None
    expected_duration: ExpectedDuration | None = None
    expected_calls: ExpectedCalls | None = None
    blocked_by: list[str] = Field(
        default_factory=list,
        description="What would keep it waiting now",
    )
    requested_by: str | None = None
