"""The API's replies, typed: strict for fields that decisions depend on, lenient for others."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tasks.ehpc.errors import printable

NODE_PREFIX = "cln-"


class JobStatus(Enum):
    """A job's status. A status that is unknown counts as still running."""

    PENDING = "pending"
    SUCCESSFUL = "successful"
    FAILED = "failed"


KNOWN_AS_GOING = frozenset({"pending", "working"})
STATUSES = {status.value: status for status in JobStatus}


def _text(value: Any) -> Any:
    """A text that is only shown: short, and without control characters."""
    if isinstance(value, str):
        return printable(value)
    return "" if value is None else value


def _utc(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def _words(value: Any) -> Any:
    return tuple(value.split()) if isinstance(value, str) else (value or ())


def _blank_is_none(value: Any) -> Any:
    return None if value == "" else value


Text = Annotated[str, BeforeValidator(_text)]
Time = Annotated[datetime | None, BeforeValidator(_blank_is_none), AfterValidator(_utc)]
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


@dataclass(frozen=True, slots=True)
class JobAccepted:
    """The provider has accepted addNodes and executes it as this job."""

    job_id: str


class JobRow(_Reply):
    """One job of the operation log."""

    job_id: Id
    status_text: Annotated[str, AfterValidator(printable)] = Field(alias="status")
    job_action: Text = ""
    create_time: Time = None
    status_time: Time = None
    error_codes: Text = ""
    resource_ids: Annotated[tuple[Id, ...], BeforeValidator(_words)] = ()

    @property
    def status(self) -> JobStatus:
        return STATUSES.get(self.status_text, JobStatus.PENDING)

    @property
    def status_is_known(self) -> bool:
        return self.status is not JobStatus.PENDING or self.status_text in KNOWN_AS_GOING

    @property
    def node_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word for word in self.resource_ids if word.startswith(NODE_PREFIX)))


class NodeRow(_Reply):
    """One node of a cluster."""

    node_id: Id
    role: Text = ""
    status: Text = ""
    create_time: Time = None


class JobPage(_Reply):
    rows: tuple[JobRow, ...] = Field(alias="job_set")
    total_count: int = Field(ge=0)


class NodePage(_Reply):
    rows: tuple[NodeRow, ...] = Field(alias="hpc_app_nodes_set")
    total_count: int = Field(ge=0)
