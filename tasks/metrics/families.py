"""The metrics of the ledger: names, types, labels. Labels have few values: no request, cluster or node."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Family:
    """A metric of the ledger, by Prometheus' conventions for names and units."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    about: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; `labels` in the order of the family's."""

    family: str
    value: float
    labels: tuple[str, ...] = field(default=())


Row = tuple[str, Literal["gauge", "counter"], tuple[str, ...], str]
ROWS: tuple[Row, ...] = (
    ("scaleout_redis_up", "gauge", (), "1 if the ledger could be read; all else is left out if not."),
    ("scaleout_ledger_lost", "gauge", (), "1 while data is missing from the ledger: nothing is sent."),
    (
        "scaleout_clock_offset_seconds",
        "gauge",
        (),
        "Redis' clock, compared with the workers'.",
    ),
    ("scaleout_workers_alive", "gauge", (), "Workers that have ticked in the last minute."),
    ("scaleout_due_lag_seconds", "gauge", (), "How long the oldest due entry has waited."),
    ("scaleout_queue_messages", "gauge", ("queue",), "Messages that no worker has taken."),
    ("scaleout_dead_letters", "gauge", (), "Messages that were put aside and are kept."),
    ("scaleout_requests_open", "gauge", (), "Requests that have not ended."),
    ("scaleout_requests_state", "gauge", ("state",), "Open requests by state, of the oldest 1,000."),
    (
        "scaleout_requests_oldest_seconds",
        "gauge",
        ("reason",),
        "Age of the oldest, by reason.",
    ),
    ("scaleout_requests_overdue", "gauge", (), "Open requests past their deadline, of the oldest 1,000."),
    ("scaleout_requests_total", "counter", ("status",), "Requests that have ended."),
    ("scaleout_operations", "gauge", ("state",), "Operations that have not ended."),
    ("scaleout_jobs_total", "counter", ("result",), "Jobs that have ended."),
    ("scaleout_jobs_missing", "gauge", (), "Running jobs that no listing shows."),
    ("scaleout_jobs_stuck", "gauge", (), "Jobs that run three times as long as 95 % of their pool's."),
    ("scaleout_nodes_added_total", "counter", (), "Nodes of jobs that have ended."),
    ("scaleout_nodes_bought", "gauge", ("window",), "Nodes that count for a limit, if there is any."),
    ("scaleout_nodes_limit", "gauge", ("window",), "The limit of the whole account."),
    ("scaleout_quota_calls_used", "gauge", ("class",), "API calls that count in the window."),
    ("scaleout_quota_calls_limit", "gauge", ("class",), "Up to how many this class is granted now."),
    ("scaleout_quota_exhausted", "gauge", (), "1 while the provider refuses calls for the quota."),
    ("scaleout_account_blocked", "gauge", (), "1 while the provider refuses the account."),
    ("scaleout_pauses", "gauge", ("scope",), "Pauses in force: of the account, of clusters."),
    ("scaleout_breakers_open", "gauge", (), "Open circuit breakers."),
    ("scaleout_schedule_next_timestamp_seconds", "gauge", ("schedule",), "The next occurrence."),
    ("scaleout_schedule_last_timestamp_seconds", "gauge", ("schedule",), "The last one handled."),
    ("scaleout_schedule_last_result", "gauge", ("schedule", "result"), "1 for how that was handled."),
    ("scaleout_webhook_pending", "gauge", ("webhook",), "Subjects with something to deliver."),
    ("scaleout_webhook_failures", "gauge", ("webhook",), "Failures in a row."),
    ("scaleout_webhook_disabled", "gauge", ("webhook",), "1 until somebody enables it."),
    ("scaleout_webhook_deliveries_total", "counter", ("webhook", "result"), "Deliveries that are over."),
    ("scaleout_records_unreadable", "gauge", (), "Records or due entries that no worker could read."),
    ("scaleout_ledger_events_total", "counter", ("event",), "Events of the journal, by all processes."),
)
FAMILIES = tuple(Family(*row) for row in ROWS)
BY_NAME = {family.name: family for family in FAMILIES}


def known(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples. Raises KeyError or ValueError for one that no family describes."""
    found = list(samples)
    for sample in found:
        if len(sample.labels) != len(BY_NAME[sample.family].labels):
            raise ValueError(f"{sample.family} has other labels than {sample.labels}")
    return found
