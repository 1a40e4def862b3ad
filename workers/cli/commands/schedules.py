"""`scaleout schedules`: the schedules in force, their next occurrences, and their last results."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from config.policy.model import Policy, Schedule
from config.settings import LedgerSettings
from config.timestamps import timestamp
from tasks.contract.policy_file import read_policy
from tasks.ledger.ledger import Ledger
from tasks.ledger.schedules import LastRun, ScheduleRecord
from tasks.schedules.build_request import lead_time_of
from tasks.views.status import state_of
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json

MAX_OCCURRENCES = 5
COLUMNS = ("schedule", "requests", "next, local", "next, UTC", "lead time", "last")


def show_schedules(*, as_json: bool) -> Exit:
    """Show what is in force, as workers have written it to the ledger, and what only the local file has."""
    rows = with_ledger(read_schedules)
    if as_json:
        print_json(rows)
        return Exit.SUCCEEDED
    if not rows:
        echo("nothing is scheduled")
        return Exit.SUCCEEDED
    print_table(None, COLUMNS, [line for row in rows for line in _lines(row)])
    for row in rows:
        if row["note"]:
            echo(f"{row['name']}: {row['note']}")
    return Exit.SUCCEEDED


async def find_schedule(ledger: Ledger, settings: LedgerSettings, name: str) -> Schedule | None:
    """Return the schedule in force, or that of the file here if no worker has read the file yet."""
    record = await ledger.schedule(name)
    if record is not None and not record.gone:
        return record.schedule
    return _policy(settings).schedule(name)


def _policy(settings: LedgerSettings) -> Policy:
    return Policy() if settings.policy_file is None else read_policy(settings.policy_file)


async def read_schedules(ledger: Ledger, settings: LedgerSettings) -> list[dict[str, Any]]:
    """Return what is in force, and what only the policy file here has."""
    in_file = {schedule.name: schedule for schedule in _policy(settings).schedules}
    names = await ledger.schedule_names()
    rows = []
    for name in sorted(names | in_file.keys()):
        record = await ledger.schedule(name) if name in names else None
        schedule = record.schedule if record is not None else in_file[name]
        note = _note(record, in_file.get(name), settings)
        rows.append(await _row(ledger, schedule, record, note))
    return rows


def _note(record: ScheduleRecord | None, in_file: Schedule | None, settings: LedgerSettings) -> str | None:
    if record is None:
        return "not in force: no worker has read this file yet"
    if record.wait_reason is not None:
        return f"waits: {record.wait_reason.message}"
    if settings.policy_file is not None and in_file is None:
        return f"in force, but not in {settings.policy_file}"
    if in_file is not None and in_file != record.schedule:
        return f"in force, but different from {settings.policy_file}"
    return None


async def _row(
    ledger: Ledger, schedule: Schedule, record: ScheduleRecord | None, note: str | None
) -> dict[str, Any]:
    lead_s = await lead_time_of(ledger, schedule)
    now = ledger.clock.now_ms()
    since = now if record is None else max(now, record.last_handled)
    coming = islice(schedule.occurrences(datetime.fromtimestamp(since / 1000, UTC)), MAX_OCCURRENCES)
    last = None if record is None or record.last is None else await _last(ledger, record.last)
    return {
        "name": schedule.name,
        "mode": schedule.mode,
        "node_count": schedule.node_count,
        "node_role": schedule.role,
        "cluster_id": schedule.cluster_id,
        "zone": schedule.zone,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "ready_by": schedule.ready_by,
        "lead_time_s": lead_s,
        "next": [_occurrence(at, schedule.timezone, lead_s) for at in coming],
        "last": last,
        "note": note,
    }


def _occurrence(at: datetime, zone: str, lead_s: int) -> dict[str, str]:
    requested_at = at - timedelta(seconds=lead_s)
    return {
        "local": at.astimezone(ZoneInfo(zone)).isoformat(),
        "utc": timestamp(round(at.timestamp() * 1000)),
        "requested_at": timestamp(round(requested_at.timestamp() * 1000)),
    }


async def _last(ledger: Ledger, last: LastRun) -> dict[str, Any]:
    state = None
    if last.request_id is not None:
        request = await ledger.request(last.request_id)
        state = None if request is None else state_of(request)
    times = {"occurrence": timestamp(last.occurrence), "at": timestamp(last.at)}
    return {**last.model_dump(), **times, "state": state}


def _lines(row: dict[str, Any]) -> list[tuple[object, ...]]:
    """Return a line for each occurrence; the first two also describe the schedule."""
    word = "at least" if row["mode"] == "ensure" else "add"
    lead = f"{row['lead_time_s']} s" if row["ready_by"] else "none"
    occurrences = [(_short(at["local"]), _short(at["utc"])) for at in row["next"]]
    heads = [
        (row["name"], f"{word} {row['node_count']} {row['node_role']} on {row['cluster_id']}"),
        ("", f"{row['cron']} {row['timezone']}"),
    ]
    lines: list[tuple[object, ...]] = []
    for number in range(max(len(occurrences), len(heads))):
        head = heads[number] if number < len(heads) else ("", "")
        at = occurrences[number] if number < len(occurrences) else ("", "") if number else ("no more", "")
        lines.append((*head, *at, *((lead, _last_result(row["last"])) if number == 0 else ("", ""))))
    return lines


def _short(text: str) -> str:
    """Drop the seconds, which an occurrence never has."""
    return f"{text[:10]} {text[11:16]}"


def _last_result(last: dict[str, Any] | None) -> str:
    if last is None:
        return "none yet"
    occurrence = _short(last["occurrence"])
    match last["result"]:
        case "missed":
            more = f", and {last['missed'] - 1} before it" if last["missed"] > 1 else ""
            return f"{occurrence} missed{more}"
        case "enough":
            return f"{occurrence} enough: {last['present']} present, {last['on_its_way']} on their way"
        case _:
            return f"{occurrence} {last['node_count']} nodes, {last['state'] or 'outcome no longer kept'}"
