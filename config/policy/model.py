"""What may be bought, and what is bought on a schedule: the types that a policy file is read into."""

from collections.abc import Iterator
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from config.policy.cron import check_cron, check_zone, occurrences

MAX_CATCH_UP_S = 7 * 86_400
MIN_CATCH_UP_S = 60
MAX_LEAD_TIME_S = 86_400

Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Globs = Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]


def _date(value: Any) -> Any:
    """TOML has dates of its own; text is taken as well."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("is no date: write YYYY-MM-DD") from None


def _date_or_time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value) if len(value) == len("YYYY-MM-DD") else datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is neither a date nor a time: write YYYY-MM-DD or YYYY-MM-DDThh:mm:ss") from None


Date = Annotated[date, BeforeValidator(_date)]
# Without an offset it is meant in the schedule's own time zone.
DateOrTime = Annotated[datetime | date, BeforeValidator(_date_or_time)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Limits(_Table):
    """How many nodes may be bought; None is no limit. `wait`: what is over a limit waits instead of ending.

    `nodes_per_cluster` counts what is there and what is on its way; hours and days are rolling.
    """

    nodes_per_request: Count | None = None
    nodes_in_flight_per_cluster: Count | None = None
    nodes_per_cluster: Count | None = None
    nodes_per_hour: Count | None = None
    nodes_per_day: Count | None = None
    wait: bool = False


class ProducerLimits(Limits):
    """Of one `requested_by`. What is on a cluster cannot be counted by who asked for it."""

    @field_validator("nodes_in_flight_per_cluster", "nodes_per_cluster")
    @classmethod
    def _is_no_limit_of_a_producer(cls, value: int | None) -> int | None:
        if value is not None:
            raise ValueError("cannot be limited by producer: say it in [limits] or [limits.clusters]")
        return value


class PolicyLimits(Limits):
    """The account's limits, and further ones by cluster id and by `requested_by`. The lowest one rules."""

    clusters: dict[str, Limits] = Field(default_factory=dict)
    producers: dict[str, ProducerLimits] = Field(default_factory=dict)

    def tables(self, cluster_id: str, requested_by: str | None) -> list[tuple[str, Limits]]:
        """The tables that a request has to keep to, each with its key path."""
        found: list[tuple[str, Limits]] = [("limits", self)]
        if cluster_id in self.clusters:
            found.append((f'limits.clusters."{cluster_id}"', self.clusters[cluster_id]))
        if requested_by is not None and requested_by in self.producers:
            found.append((f'limits.producers."{requested_by}"', self.producers[requested_by]))
        return found


class Allow(_Table):
    """What may be asked for at all, as globs (`*`, `?`, `[…]`, upper and lower case differ); None is all."""

    clusters: Globs | None = None
    zones: Globs | None = None
    roles: Globs | None = None

    def refused(self, *, cluster_id: str, zone: str, role: str) -> list[tuple[str, str, tuple[str, ...]]]:
        """The rules that are broken: key path, the value, and the globs that it does not match."""
        looked_at = (
            ("allow.clusters", cluster_id, self.clusters),
            ("allow.zones", zone, self.zones),
            ("allow.roles", role, self.roles),
        )
        return [
            (rule, value, globs)
            for rule, value, globs in looked_at
            if globs is not None and not any(fnmatchcase(value, glob) for glob in globs)
        ]


class Schedule(_Table):
    """A request that is made again and again. Times in seconds.

    `mode`: `add` asks for `node_count` nodes; `ensure` for what is missing to so many active nodes of the
    role. `ready_by`: the moments are when the nodes have to be there, so it is asked for earlier by the lead
    time: `lead_time_s` if that is fixed, otherwise what the pool has needed lately, at least `lead_time_s`.
    `catch_up_s`: how late a moment may still be made up.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    cron: Annotated[str, AfterValidator(check_cron)]
    timezone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    mode: Literal["add", "ensure"] = "add"
    ready_by: bool = False
    lead_time: Literal["adaptive", "fixed"] = "adaptive"
    lead_time_s: Annotated[int, Field(ge=0, le=MAX_LEAD_TIME_S)] | None = None
    not_before: DateOrTime | None = None
    not_after: DateOrTime | None = None
    skip_dates: Annotated[tuple[Date, ...], Field(strict=False)] = ()
    catch_up_s: Annotated[int, Field(ge=MIN_CATCH_UP_S, le=MAX_CATCH_UP_S)] = 600

    cluster_id: str
    zone: str
    node_count: int
    node_role: str | None = None
    node_name: str | None = None
    resource_conf: dict[str, Any] | None = None
    deadline_s: int | float | None = None
    on_shortage: str | None = None
    requested_by: str | None = None

    @property
    def producer(self) -> str:
        """What its requests carry as `requested_by`."""
        return self.requested_by or f"schedule:{self.name}"

    @property
    def role(self) -> str:
        """As the contract of requests has it: a shared cluster takes login nodes only."""
        return self.node_role or ("login" if self.cluster_id.startswith("hpc-") else "compute")

    @property
    def floor_s(self) -> int:
        """The shortest lead time, or the lead time if it is fixed."""
        return self.lead_time_s or 0

    def occurrences(self, after: datetime) -> Iterator[datetime]:
        """Its moments later than `after`, in order, as UTC; endless unless `not_after` ends them."""
        return occurrences(
            self.cron,
            self.timezone,
            after,
            not_before=self.not_before,
            not_after=self.not_after,
            skip_dates=self.skip_dates,
        )

    def request(self, request_id: str, node_count: int | None = None) -> dict[str, Any]:
        """The fields of a request, unchecked; `node_count` if fewer are asked for than the schedule says."""
        given = {name: getattr(self, name) for name in REQUEST_FIELDS if getattr(self, name) is not None}
        given |= {"request_id": request_id, "requested_by": self.producer}
        return given if node_count is None else {**given, "node_count": node_count}


REQUEST_FIELDS = (
    "cluster_id",
    "zone",
    "node_count",
    "node_role",
    "node_name",
    "resource_conf",
    "deadline_s",
    "on_shortage",
    "requested_by",
)


class Policy(_Table):
    """No limits, everything allowed, no schedules, unless something is said."""

    limits: PolicyLimits = PolicyLimits()
    allow: Allow = Allow()
    schedules: tuple[Schedule, ...] = ()

    def schedule(self, name: str) -> Schedule | None:
        return next((schedule for schedule in self.schedules if schedule.name == name), None)
