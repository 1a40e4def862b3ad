"""PURE: pausing and resuming. Nothing new is sent in between; polling and intake continue. Times in ms.

A plan, and the step that writes an operation as `submitting`, expect both pauses' records: a pause that is
committed before either of them wins. Entries that wait for a pause's end are parked beside the due set and
return there in the step that ends the pause.
"""

from config.timestamps import timestamp
from tasks.ledger.change_entries import Index, Listed, Park, Unpark
from tasks.ledger.change_set import ChangeSet, DueRule
from tasks.ledger.due import Due
from tasks.ledger.events import Event, Level
from tasks.ledger.notices import Notify, notice_of
from tasks.ledger.pauses import EVERYTHING, Pause, PauseEvent, Pauses
from tasks.ledger.record import Record
from tasks.ledger.records import Cluster
from tasks.state_machine import circuit_breaker

BY_TIME = "its end time"
MAX_UNLOGGED = 50


def pause(record: Pause, *, by: str, reason: str | None, until: int | None, now: int) -> ChangeSet:
    """Pause the record's scope from this commit on. Replaces a pause that is in force."""
    made = PauseEvent(event="paused", at=now, by=by, reason=reason, until=until)
    update = {"paused": True, "by": by, "reason": reason, "since": now, "until": until}
    changes = ChangeSet()
    changes.write(_with_unlogged(record.model_copy(update=update), made))
    changes.add(Listed(Index.PAUSED, record.scope, now))
    changes.schedule(record.due, now)
    said = {"by": by, "reason": reason, "until": None if until is None else timestamp(until)}
    changes.add(Notify(notice_of("paused", record.scope, now, said)))
    changes.record(_event(record, made, in_journal=True))
    return changes


def resume(record: Pause, cluster: Cluster | None, *, by: str, now: int) -> ChangeSet | None:
    """Lift the pause, and close the open breakers of `cluster` if it is the one that is resumed.

    Returns None if there is nothing to lift.
    """
    broken = cluster is not None and circuit_breaker.is_open(cluster)
    if not record.paused and not broken:
        return None
    changes = ChangeSet()
    if record.paused:
        changes.write(_lift(changes, record, by=by, now=now))
        # A worker's log is to have it too.
        changes.schedule(record.due, now)
    if cluster is not None and broken:
        changes.write(circuit_breaker.close_by_hand(changes, cluster, by=by))
        changes.schedule(cluster.due, now, DueRule.NO_LATER)
    return changes


def apply_due(record: Pause, now: int) -> ChangeSet:
    """Lift the pause if its time is over, and log what only the ledger knows; for a worker."""
    changes, current, unlogged = ChangeSet(), record, record.unlogged
    if record.paused and not record.in_force(now):
        current = _lift(changes, record, by=BY_TIME, now=now)
    changes.write(current.model_copy(update={"unlogged": ()}))
    changes.schedule(record.due, current.until if current.paused else None)
    changes.events[:0] = [_event(record, one, in_journal=False) for one in unlogged]
    return changes


def park(due: Due, pauses: Pauses, by: Pause, now: int, *expected: Record) -> ChangeSet:
    """Take `due` out of the due set until the pause `by` ends."""
    changes = ChangeSet(expected=[*expected, *pauses.records])
    changes.add(Park(by.scope, due, now))
    changes.schedule(due, None)
    return changes


def describe(pause: Pause) -> str:
    """Return for people what is paused, by whom, since when, until when and why."""
    what = "everything" if pause.scope == EVERYTHING else f"cluster {pause.scope}"
    until = "until it is resumed" if pause.until is None else f"until {timestamp(pause.until)}"
    reason = "" if pause.reason is None else f": {pause.reason}"
    return f"pause: {what} is paused by {pause.by} since {timestamp(pause.since)}, {until}{reason}"


def _lift(changes: ChangeSet, record: Pause, *, by: str, now: int) -> Pause:
    lifted = PauseEvent(event="resumed", at=now, by=by)
    changes.add(Listed(Index.PAUSED, record.scope, None), Unpark(record.scope, now))
    changes.record(_event(record, lifted, in_journal=True))
    return _with_unlogged(record.model_copy(update={"paused": False, "until": None}), lifted)


def _with_unlogged(record: Pause, event: PauseEvent) -> Pause:
    return record.model_copy(update={"unlogged": (*record.unlogged, event)[-MAX_UNLOGGED:]})


def _event(record: Pause, event: PauseEvent, *, in_journal: bool) -> Event:
    fields: dict[str, object] = {
        "scope": record.scope,
        "cluster_id": None if record.scope == EVERYTHING else record.scope,
        "by": event.by,
        "reason": event.reason,
        "since": timestamp(event.at),
        "until": None if event.until is None else timestamp(event.until),
    }
    level: Level = "warning" if event.event == "paused" else "info"
    return Event(event.event, level, fields=fields, in_journal=in_journal)
