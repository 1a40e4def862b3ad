"""The demo's schedule: six nodes that must be ready at a full minute, requested within seconds."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.schedules.request_ids import request_id
from workers.cli.demo.scenario import Group

NAME = "demo-ready"
NODES = 6
REQUESTED_AFTER = timedelta(seconds=5)
TAKES_AT_MOST = timedelta(seconds=15)
POLICY = """\
[limits]
nodes_per_request = 500

[[schedule]]
name = "{name}"
cron = "{minute} {hour} * * *"
timezone = "UTC"
mode = "ensure"
ready_by = true
lead_time = "fixed"
lead_time_s = {lead_time_s}
cluster_id = "ehpc-sched001"
zone = "jn1a"
node_count = {nodes}
requested_by = "demo"
"""


@dataclass(frozen=True, slots=True)
class DemoSchedule:
    """`policy`: the worker's policy file; `group`: the request that it makes."""

    policy: Path
    group: Group


def write_schedule(folder: Path, now: datetime) -> DemoSchedule:
    """Occurrences are full minutes: the lead time has it request the nodes just now."""
    soonest = now + REQUESTED_AFTER + TAKES_AT_MOST
    occurrence = soonest.replace(second=0, microsecond=0) + timedelta(minutes=1)
    lead_time_s = int((occurrence - now - REQUESTED_AFTER).total_seconds())
    path = folder / "policy.toml"
    utc = occurrence.astimezone(UTC)
    path.write_text(
        POLICY.format(name=NAME, minute=utc.minute, hour=utc.hour, lead_time_s=lead_time_s, nodes=NODES),
        encoding="utf-8",
    )
    spec = {"request_id": request_id(NAME, round(occurrence.timestamp() * 1000)), "node_count": NODES}
    return DemoSchedule(
        path, Group(f"a schedule: {NODES} nodes ready by {utc:%H:%M} UTC", (spec,), unseen="not due yet")
    )
