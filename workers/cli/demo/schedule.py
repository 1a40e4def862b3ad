"""The demo's schedule: six nodes that have to be there at a full minute, asked for within seconds."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.schedules.request_ids import request_id
from workers.cli.demo.scenario import Group

NAME = "demo-ready"
NODES = 6
ASKED_AFTER = timedelta(seconds=5)
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
    """`policy`: the file that the worker is given; `group`: the request that comes of it."""

    policy: Path
    group: Group


def write_schedule(folder: Path, now: datetime) -> DemoSchedule:
    """Moments are full minutes, so it is the lead time that has it asked for just now."""
    soonest = now + ASKED_AFTER + TAKES_AT_MOST
    moment = soonest.replace(second=0, microsecond=0) + timedelta(minutes=1)
    lead_time_s = int((moment - now - ASKED_AFTER).total_seconds())
    path = folder / "policy.toml"
    utc = moment.astimezone(UTC)
    path.write_text(
        POLICY.format(name=NAME, minute=utc.minute, hour=utc.hour, lead_time_s=lead_time_s, nodes=NODES),
        encoding="utf-8",
    )
    spec = {"request_id": request_id(NAME, round(moment.timestamp() * 1000)), "node_count": NODES}
    return DemoSchedule(
        path, Group(f"a schedule: {NODES} nodes ready by {utc:%H:%M} UTC", (spec,), unseen="not due yet")
    )
