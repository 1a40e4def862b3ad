"""What one step wants to change, built by pure functions and applied by one script, all or nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal, TypeVar

from tasks.contract.outcome import Outcome
from tasks.ledger.due import OUTBOX, Due, Lane
from tasks.ledger.durations import Duration, Pool
from tasks.ledger.records import Record
from tasks.ledger.usage_counters import Entry, Within

Level = Literal["debug", "info", "warning", "error"]

R = TypeVar("R", bound=Record)


class Committed(Enum):
    OK = auto()
    STALE = auto()
    OVER = auto()
    LOST = auto()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Its log line, its count and its lines of history are all made from this.

    `noted`: it concerns more than single requests, and is counted and kept in the journal.
    """

    name: str
    level: Level = "info"
    requests: tuple[str, ...] = ()
    fields: dict[str, object] = field(default_factory=dict)
    noted: bool = False


@dataclass(slots=True)
class Changes:
    """Records are written if they are still at the version they were read at. Times in ms.

    `sooner`: due then at the latest. `unless_due`: due then, if not at some time already.
    `wake`: clusters to be planned from then on, if anybody waits there.
    `sends`: once this is written something will be sent, so it is not written to a ledger with data missing.
    `schedules`: names that come into force, or go.
    """

    puts: list[Record] = field(default_factory=list)
    checks: list[Record] = field(default_factory=list)
    due: dict[Due, int | None] = field(default_factory=dict)
    sooner: dict[Due, int] = field(default_factory=dict)
    unless_due: dict[Due, int] = field(default_factory=dict)
    wake: dict[str, int] = field(default_factory=dict)
    arrivals: list[tuple[str, str, str, int]] = field(default_factory=list)
    demand: list[tuple[str, str, str, int | None]] = field(default_factory=list)
    empty_pools: list[tuple[str, str]] = field(default_factory=list)
    running: list[tuple[str, str, str, int | None]] = field(default_factory=list)
    jobs: list[tuple[str, str, str, int]] = field(default_factory=list)
    forget_jobs: dict[str, int] = field(default_factory=dict)
    opened: dict[str, int] = field(default_factory=dict)
    waiters: list[tuple[str, str]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    late: list[Outcome] = field(default_factory=list)
    ended_at: dict[str, int] = field(default_factory=dict)
    expire: list[Record] = field(default_factory=list)
    held: dict[str, int | None] = field(default_factory=dict)
    paused: dict[str, int | None] = field(default_factory=dict)
    broken: dict[str, int | None] = field(default_factory=dict)
    parked: list[tuple[str, Due]] = field(default_factory=list)
    unparked: dict[str, int] = field(default_factory=dict)
    durations: list[tuple[Pool, Duration]] = field(default_factory=list)
    schedules: dict[str, bool] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    within: list[Within] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    sends: bool = False

    def put(self, *records: Record) -> None:
        self.puts.extend(records)

    def tell(self, event: Event) -> None:
        self.events.append(event)

    def written(self, record: R) -> R:
        """`record` as it stands once this has been written to it, or as it is."""
        same = [put for put in self.puts if type(put) is type(record) and put.identity == record.identity]
        if not same:
            return record
        return same[-1].model_copy(update={"version": record.version + len(same)})

    def soonest_due(self) -> dict[Lane, int]:
        """When (ms) the first of the entries that this writes is due, by lane."""
        written = (*self.due.items(), *self.sooner.items(), *self.unless_due.items())
        moments = [(due.lane, at) for due, at in written if at is not None]
        moments += [(Lane.SUBMISSIONS, at) for at in self.wake.values()]
        moments += [(OUTBOX.lane, at) for at in self.ended_at.values()]
        return {lane: min(at for of, at in moments if of is lane) for lane, _ in moments}
