"""Pure: pausing and resuming. Nothing new is sent meanwhile; what runs is followed, intake goes on.

A plan, and the step that writes an operation as `submitting`, check both pauses' records: a pause that is
committed before either of them wins. What waits for a pause's end is parked beside the due set, and goes
back there in the step that ends the pause. Times in ms.
"""

from __future__ import annotations

from typing import Any

from config.timestamps import timestamp
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.due import Due, DueKind
from tasks.ledger.pauses import EVERYTHING, Act, Pause, Pauses
from tasks.ledger.records import Cluster, Record
from tasks.state_machine import circuit_breaker

BY_TIME = "its end time"
MOST_UNTOLD = 50


def pause(record: Pause, *, by: str, why: str | None, until: int | None, now: int) -> Changes:
    """From this commit on nothing new is sent in the record's scope. Replaces a pause that is there."""
    act = Act(event="paused", at=now, by=by, why=why, until=until)
    changes = Changes(paused={record.scope: now})
    update = {"paused": True, "by": by, "why": why, "since": now, "until": until}
    changes.put(_with_act(record.model_copy(update=update), act))
    changes.due[_due(record)] = now
    changes.tell(_event(record, act, noted=True))
    return changes


def resume(record: Pause, cluster: Cluster | None, *, by: str, now: int) -> Changes | None:
    """Lift the pause, and close the open breakers of `cluster` if that is what is resumed.

    None if there is nothing to lift.
    """
    broken = cluster is not None and circuit_breaker.is_open(cluster)
    if not record.paused and not broken:
        return None
    changes = _lifted(record, by=by, now=now) if record.paused else Changes()
    if cluster is not None and broken:
        changes.put(circuit_breaker.closed_by_hand(changes, cluster, by=by))
        changes.sooner[Due(DueKind.CLUSTER, cluster.cluster_id)] = now
    if record.paused:
        # Not told yet: a worker's log is to have it.
        changes.due[_due(record)] = now
    return changes


def look_at(record: Pause, now: int) -> Changes:
    """For a worker: lift the pause when its time is over, and put into the log what only the ledger knows."""
    untold = record.untold
    if record.paused and not record.in_force(now):
        changes = _lifted(record, by=BY_TIME, now=now)
        (lifted,) = changes.puts
        changes.puts = [lifted.model_copy(update={"untold": ()})]
        changes.due[_due(record)] = None
    else:
        changes = Changes()
        changes.put(record.model_copy(update={"untold": ()}))
        changes.due[_due(record)] = record.until if record.paused else None
    changes.events[:0] = [_event(record, act, noted=False) for act in untold]
    return changes


def park(due: Due, pauses: Pauses, by: Pause, *checks: Record) -> Changes:
    """Let `due` rest until the pause `by` ends."""
    changes = Changes(checks=[*checks, *pauses.records], parked=[(by.scope, due)])
    changes.due[due] = None
    return changes


def text_of(pause: Pause) -> str:
    """For people: what is paused, by whom, since when, until when and why."""
    what = "everything" if pause.scope == EVERYTHING else f"cluster {pause.scope}"
    since = timestamp(pause.since)
    until = "until it is resumed" if pause.until is None else f"until {timestamp(pause.until)}"
    because = "" if pause.why is None else f": {pause.why}"
    return f"pause: {what} is paused by {pause.by} since {since}, {until}{because}"


def _lifted(record: Pause, *, by: str, now: int) -> Changes:
    act = Act(event="resumed", at=now, by=by)
    changes = Changes(paused={record.scope: None}, unparked={record.scope: now})
    changes.put(_with_act(record.model_copy(update={"paused": False, "until": None}), act))
    changes.tell(_event(record, act, noted=True))
    return changes


def _with_act(record: Pause, act: Act) -> Pause:
    return record.model_copy(update={"untold": (*record.untold, act)[-MOST_UNTOLD:]})


def _event(record: Pause, act: Act, *, noted: bool) -> Event:
    fields: dict[str, Any] = {
        "scope": record.scope,
        "cluster_id": None if record.scope == EVERYTHING else record.scope,
        "by": act.by,
        "why": act.why,
        "since": timestamp(act.at),
        "until": None if act.until is None else timestamp(act.until),
    }
    return Event(act.event, "warning" if act.event == "paused" else "info", fields=fields, noted=noted)


def _due(record: Pause) -> Due:
    return Due(DueKind.PAUSE, record.scope)
