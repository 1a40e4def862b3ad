"""The types of a policy file: limits, what is allowed, schedules, webhooks."""

from collections.abc import Collection, Iterator
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

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
from config.policy.webhook_url import check_webhook_url

MAX_CATCH_UP_S = 7 * 86_400
MIN_CATCH_UP_S = 60
MAX_LEAD_TIME_S = 86_400

Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Globs = Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]


def _date(value: Any) -> Any:
    """Accept dates of TOML, and text."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("is not a date: write YYYY-MM-DD") from None


def _date_or_time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value) if len(value) == len("YYYY-MM-DD") else datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is neither a date nor a time: write YYYY-MM-DD or YYYY-MM-DDThh:mm:ss") from None


Date = Annotated[date, BeforeValidator(_date)]
# Without an offset, it is in the schedule's own time zone.
DateOrTime = Annotated[datetime | date, BeforeValidator(_date_or_time)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Limits(_Table):
    """How many nodes may be bought; None is no limit.

    Fields:
        nodes_per_cluster: present and on their way.
        nodes_per_hour, nodes_per_day: rolling windows.
        wait: requests over a limit wait instead of being rejected.
    """

    nodes_per_request: Count | None = None
    nodes_in_flight_per_cluster: Count | None = None
    nodes_per_cluster: Count | None = None
    nodes_per_hour: Count | None = None
    nodes_per_day: Count | None = None
    wait: bool = False


class ProducerLimits(Limits):
    """Limits of one `requested_by`. A cluster's nodes cannot be counted by producer."""

    @field_validator("nodes_in_flight_per_cluster", "nodes_per_cluster")
    @classmethod
    def _is_not_counted_by_producer(cls, value: int | None) -> int | None:
        if value is not None:
            raise ValueError("cannot be limited by producer: use [limits] or [limits.clusters]")
        return value


class PolicyLimits(Limits):
    """The account's limits, and further ones by cluster id and by `requested_by`; the lowest applies."""

    clusters: dict[str, Limits] = Field(default_factory=dict)
    producers: dict[str, ProducerLimits] = Field(default_factory=dict)

    def tables(self, cluster_id: str, requested_by: str | None) -> list[tuple[str, Limits]]:
        """Return the tables that apply to a request, each with its key path."""
        found: list[tuple[str, Limits]] = [("limits", self)]
        if cluster_id in self.clusters:
            found.append((f'limits.clusters."{cluster_id}"', self.clusters[cluster_id]))
        if requested_by is not None and requested_by in self.producers:
            found.append((f'limits.producers."{requested_by}"', self.producers[requested_by]))
        return found


class Allow(_Table):
    """What may be requested at all, as case-sensitive globs (`*`, `?`, `[…]`); None allows all."""

    clusters: Globs | None = None
    zones: Globs | None = None
    roles: Globs | None = None

    def refused(self, *, cluster_id: str, zone: str, role: str) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return the rules that are broken: key path, value, and the globs that it does not match."""
        rules = (
            ("allow.clusters", cluster_id, self.clusters),
            ("allow.zones", zone, self.zones),
            ("allow.roles", role, self.roles),
        )
        return [
            (rule, value, globs)
            for rule, value, globs in rules
            if globs is not None and not any(fnmatchcase(value, glob) for glob in globs)
        ]


class Schedule(_Table):
    """A recurring request. Times in seconds.

    Fields:
        mode: `add` requests `node_count` nodes; `ensure` what is missing to that many active nodes.
        ready_by: occurrences are when the nodes must be ready, so the request is made a lead time before.
        lead_time: `fixed` is `lead_time_s`; `adaptive` follows the pool's recent durations, at least that.
        catch_up_s: how late an occurrence may still be caught up.
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
        """The `requested_by` of its requests."""
        return self.requested_by or f"schedule:{self.name}"

    @property
    def role(self) -> str:
        """The role, by default as in requests: a shared cluster takes login nodes only."""
        return self.node_role or ("login" if self.cluster_id.startswith("hpc-") else "compute")

    @property
    def floor_s(self) -> int:
        """The shortest lead time, or the lead time if it is fixed."""
        return self.lead_time_s or 0

    def occurrences(self, after: datetime) -> Iterator[datetime]:
        """Yield its occurrences after `after`, in order, as UTC; endless unless `not_after` ends them."""
        return occurrences(
            self.cron,
            self.timezone,
            after,
            not_before=self.not_before,
            not_after=self.not_after,
            skip_dates=self.skip_dates,
        )

    def request(self, request_id: str, node_count: int | None = None) -> dict[str, Any]:
        """Return the fields of a request, unchecked; `node_count` overrides the schedule's."""
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


WebhookEvent = Literal["outcome", "held", "late_nodes", "paused"]
WEBHOOK_EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)


class Webhook(_Table):
    """Who is told of what happens, by HTTP.

    Fields:
        secret_file: holds the key that signs, `whsec_…`; it is read again for every delivery.
        producers: globs of `requested_by`; None for all, and for what belongs to no request.
        allow_private: the name may lead to loopback and private addresses.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    url: Annotated[str, AfterValidator(check_webhook_url)]
    secret_file: Annotated[Path, Field(strict=False)]
    events: Annotated[tuple[WebhookEvent, ...], Field(min_length=1, strict=False)] = WEBHOOK_EVENTS
    producers: Globs | None = None
    allow_private: bool = False

    def wants(self, event: str, producers: Collection[str | None]) -> bool:
        """Return whether it is told of an event that concerns requests of these producers, or nobody's."""
        return event in self.events and is_of(self.producers, producers)


def is_of(globs: Collection[str] | None, producers: Collection[str | None]) -> bool:
    """Return whether one of the producers matches one of the globs; None, and nobody, match always."""
    if globs is None or not producers:
        return True
    return any(fnmatchcase(name or "", glob) for name in producers for glob in globs)


class Policy(_Table):
    """A policy; by default without limits, schedules and webhooks, and with everything allowed."""

    limits: PolicyLimits = PolicyLimits()
    allow: Allow = Allow()
    schedules: tuple[Schedule, ...] = ()
    webhooks: tuple[Webhook, ...] = ()

    def schedule(self, name: str) -> Schedule | None:
        return next((schedule for schedule in self.schedules if schedule.name == name), None)

    def webhook(self, name: str) -> Webhook | None:
        return next((webhook for webhook in self.webhooks if webhook.name == name), None)
