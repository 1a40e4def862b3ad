"""`scaleout schedules`: what is scheduled, when it comes next, and what came of the last moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from config.policy.model import Policy, Schedule
from config.settings import LedgerSettings
from config.timestamps import timestamp
from tasks.contract.policy_file import read_policy
from tasks.ledger.ledger import Ledger
from tasks.ledger.schedules import Done, ScheduleRecord
from tasks.schedules.build_request import lead_time_of
from tasks.views.status import read_standing
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.terminal import print_json, print_table, say

SHOWN_MOMENTS = 5
COLUMNS = ("schedule", "asks for", "next, local", "next, UTC", "lead time", "last")


def show_schedules(*, as_json: bool) -> Exit:
    """What is in force, as workers have put it into the ledger, and what only the file here has."""
    rows = with_ledger(_read)
    if as_json:
        print_json(rows)
        return Exit.SUCCEEDED
    if not rows:
        say("nothing is scheduled")
        return Exit.SUCCEEDED
    print_table(None, COLUMNS, [line for row in rows for line in _lines(row)])
    for row in rows:
        if row["note"]:
            say(f"{row['name']}: {row['note']}")
    return Exit.SUCCEEDED


async def find_schedule(ledger: Ledger, settings: LedgerSettings, name: str) -> Schedule | None:
    """As it is in force, or as the file here has it if no worker has read that yet."""
    record = await ledger.schedule(name)
    if record is not None and not record.gone:
        return record.schedule
    return _policy(settings).schedule(name)


def _policy(settings: LedgerSettings) -> Policy:
    return Policy() if settings.policy_file is None else read_policy(settings.policy_file)


async def _read(ledger: Ledger, settings: LedgerSettings) -> list[dict[str, Any]]:
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
    if record.waits_for is not None:
        return f"waits: {record.waits_for.message}"
    if settings.policy_file is not None and in_file is None:
        return f"in force, but not in {settings.policy_file}"
    if in_file is not None and in_file != record.schedule:
        return f"in force otherwise than {settings.policy_file} has it"
    return None


async def _row(
    ledger: Ledger, schedule: Schedule, record: ScheduleRecord | None, note: str | None
) -> dict[str, Any]:
    lead_s = await lead_time_of(ledger, schedule)
    now = ledger.clock.now_ms()
    since = now if record is None else max(now, record.through)
    coming = islice(schedule.moments(datetime.fromtimestamp(since / 1000, UTC)), SHOWN_MOMENTS)
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
        "next": [_moment(at, schedule.timezone, lead_s) for at in coming],
        "last": last,
        "note": note,
    }


def _moment(at: datetime, zone: str, lead_s: int) -> dict[str, str]:
    asked_at = at - timedelta(seconds=lead_s)
    return {
        "local": at.astimezone(ZoneInfo(zone)).isoformat(),
        "utc": timestamp(round(at.timestamp() * 1000)),
        "asked_at": timestamp(round(asked_at.timestamp() * 1000)),
    }


async def _last(ledger: Ledger, done: Done) -> dict[str, Any]:
    state = None
    if done.request_id is not None:
        request = await ledger.request(done.request_id)
        state = None if request is None else (await read_standing(ledger, request)).state
    return {**done.model_dump(), "moment": timestamp(done.moment), "at": timestamp(done.at), "state": state}


def _lines(row: dict[str, Any]) -> list[tuple[object, ...]]:
    """A line for each moment; the first two also say what it is."""
    word = "at least" if row["mode"] == "ensure" else "add"
    lead = f"{row['lead_time_s']} s" if row["ready_by"] else "none"
    moments = [(_short(at["local"]), _short(at["utc"])) for at in row["next"]]
    heads = [
        (row["name"], f"{word} {row['node_count']} {row['node_role']} on {row['cluster_id']}"),
        ("", f"{row['cron']} {row['timezone']}"),
    ]
    lines: list[tuple[object, ...]] = []
    for number in range(max(len(moments), len(heads))):
        head = heads[number] if number < len(heads) else ("", "")
        at = moments[number] if number < len(moments) else ("", "") if number else ("no more", "")
        lines.append((*head, *at, *((lead, _last_words(row["last"])) if number == 0 else ("", ""))))
    return lines


def _short(text: str) -> str:
    """Without what a moment never has: seconds."""
    return f"{text[:10]} {text[11:16]}"


def _last_words(last: dict[str, Any] | None) -> str:
    if last is None:
        return "none yet"
    moment = _short(last["moment"])
    match last["what"]:
        case "missed":
            more = f", with {last['missed'] - 1} before it" if last["missed"] > 1 else ""
            return f"{moment} missed{more}"
        case "enough":
            return f"{moment} enough: {last['present']} there, {last['on_its_way']} on their way"
        case _:
            return f"{moment} {last['node_count']} nodes, {last['state'] or 'outcome no longer kept'}"
