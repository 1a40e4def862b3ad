"""What the control API takes: strict about names and types, so that a typing error is noticed."""

from typing import Annotated, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from workers.simulator.cloud import ADD_NODES
from workers.simulator.faults import FaultKind

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class FaultMessage(_Message):
    """A fault that calls meet from now on."""

    kind: FaultKind
    action: Literal["addNodes", "deleteNodes", "operation", "listNodes", "*"] = "addNodes"
    cluster_id: Name | None = Field(None, description="Only calls for this cluster")
    times: Count | None = Field(1, description="For how many calls; null for all")
    skip: Count = Field(0, description="How many calls to leave alone first")
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    made: bool = Field(False, description="Whether what was asked for is carried out all the same")
    code: int = Field(5000, description="ret_code of `ret_code`, error code of `fail_job`")
    message: str = "InternalError"
    status: Annotated[int, Field(ge=100, le=599)] = Field(502, description="HTTP status of `http_status`")
    retry_after: str | None = Field(None, description="Header of `http_status`")
    seconds: Seconds = Field(0.0, description="Of `latency`, `hang` and `job_duration`")
    nodes_made: Count = Field(0, description="Nodes that a job makes before it fails, with `fail_job`")


class StockMessage(_Message):
    """How many nodes can still be had; from now on more are refused with 5200."""

    nodes: Count
    cluster_id: Name | None = Field(None, description="Of this cluster; null: of all")
    zone: Name = "jn1a"


class ForeignMessage(_Message):
    """Somebody else adds nodes."""

    cluster_id: Name
    node_count: Annotated[int, Field(ge=1, le=1000)]
    zone: Name = "jn1a"
    job_action: Name = ADD_NODES


class EndJobsMessage(_Message):
    """Running jobs end, spread evenly over a time."""

    within_s: Annotated[list[Seconds], Field(min_length=2, max_length=2)]
    count: Count | None = Field(None, description="How many; null for all")


class QuotaMessage(_Message):
    """Another quota from now on; calls before count no more, but `used` of it."""

    calls: Annotated[int, Field(ge=1)]
    period_s: Annotated[float, Field(gt=0, le=1_000_000)]
    used: Count = 0


class OptionsMessage(_Message):
    """Options that may change while the simulator runs."""

    job_duration_s: Annotated[str, Field(pattern=r"^\d+(\.\d+)?(-\d+(\.\d+)?)?$")] | None = Field(
        None, description='"3", or "2-6" for any time between'
    )
    log_lag_s: Seconds | None = None
    latency_s: Seconds | None = None
    node_ids_in_log: Literal["never", "ended", "always"] | None = None
    clock_skew_s: Annotated[float, Field(ge=-1_000_000, le=1_000_000)] | None = None


M = TypeVar("M")


async def read(request: web.Request, kind: type[M]) -> M:
    """Return the message in the body.

    Raises:
        HTTPBadRequest: every problem, a line each.
    """
    try:
        return TypeAdapter(kind).validate_json(await request.read())
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors())
        raise web.HTTPBadRequest(text="\n".join(lines)) from None
