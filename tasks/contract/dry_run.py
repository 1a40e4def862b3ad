"""What a request with `dry_run` is answered: all that would come of it, and nothing does."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.contract.outcome import OutcomeError


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class BrokenRule(_Shape):
    """A rule of the policy that stands against the request now."""

    rule: str = Field(description="Its key path in the policy")
    limit: int | list[str]
    present: int | str = Field(description="What the limit is compared with, without this request")
    asked: int
    waits: bool = Field(description="Whether the request would wait; otherwise it would be rejected")
    until: str | None = Field(description="From when on there is room, if that is known")
    message: str


class ExpectedDuration(_Shape):
    """From the sending to the last node, if the pool's operations go as the last ones did.

    Each operation of the request, and each that has to end before, takes what half of them (p50) or nine of
    ten (p90) did not exceed.
    """

    p50_s: float
    p90_s: float
    operations_seen: int


class ExpectedCalls(_Shape):
    """API calls. `following` looks at all jobs of a zone at once, and is null if no duration is known."""

    submitting: int
    counting: int
    following: int | None


class DryRun(_Shape):
    """`accepted`: it would be bought as its turn comes; `waiting`: once a limit has room for it."""

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
        default=False, description="The same request is there already: nothing more would be bought"
    )
    operations: list[int] = Field(default_factory=list, description="Nodes of each operation it would take")
    operations_before: int = Field(default=0, description="Operations of the cluster that would come first")
    nodes_present: int | None = Field(
        default=None, description="Nodes of the cluster when they were last counted, for a limit"
    )
    counted_at: str | None = None
    expected_duration: ExpectedDuration | None = None
    expected_calls: ExpectedCalls | None = None
    requested_by: str | None = None
