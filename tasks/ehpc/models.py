"""The API's replies, typed. Each row is read alone: one that is damaged hides no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.ehpc.job_status import JobStatus, status_of
from tasks.ehpc.row_values import Id, Ids, Text, Time, Word, as_count

NODE_PREFIX = "cln-"
CLUSTER_PREFIXES = ("ehpc-", "hpc-")


@dataclass(frozen=True, slots=True)
class JobAccepted:
    """The provider has accepted addNodes and executes it as this job."""

    job_id: str


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class JobRow(_Row):
    """One job of the operation log. All but its id may be missing."""

    job_id: Id
    status_text: Text = Field("", alias="status")
    job_action: Text = ""
    create_time: Time = None
    status_time: Time = None
    error_codes: Text = ""
    resource_ids: Ids = ()

    @property
    def identity(self) -> str:
        return self.job_id

    @property
    def status(self) -> JobStatus:
        return status_of(self.status_text) or JobStatus.PENDING

    @property
    def status_is_known(self) -> bool:
        return status_of(self.status_text) is not None

    @property
    def cluster_ids(self) -> tuple[str, ...]:
        return tuple(name for name in self.resource_ids if name.startswith(CLUSTER_PREFIXES))

    @property
    def node_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word for word in self.resource_ids if word.startswith(NODE_PREFIX)))


class NodeRow(_Row):
    """One node of a cluster. All but its id may be missing."""

    node_id: Id
    role: Word = ""
    status: Word = ""
    create_time: Time = None

    @property
    def identity(self) -> str:
        return self.node_id


R = TypeVar("R", JobRow, NodeRow)


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """A page of a listing.

    Fields:
        rows: those that can be read.
        unreadable: how many have no usable id.
        total: how many rows the provider counts in all; None if it does not say.
        skew_s: how far the provider's clock was ahead of ours; None if it does not say.
    """

    rows: tuple[R, ...]
    unreadable: int = 0
    total: int | None = None
    skew_s: float | None = None

    @property
    def row_count(self) -> int:
        return len(self.rows) + self.unreadable

    @classmethod
    def read(cls, kind: type[R], found: Sequence[Any], total: Any, skew_s: float | None = None) -> Self:
        """Read each row alone."""
        rows = [row for given in found if (row := _row(kind, given)) is not None]
        return cls(tuple(rows), len(found) - len(rows), as_count(total), skew_s)


JobPage = Page[JobRow]
NodePage = Page[NodeRow]


def _row(kind: type[R], given: Any) -> R | None:
    if not isinstance(given, Mapping):
        return None
    try:
        return kind.model_validate(given)
    except ValidationError:
        return None
