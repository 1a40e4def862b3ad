"""What one step changes: built by pure functions, applied by one script, all or nothing. Times in ms."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeVar

from tasks.contract.outcome import Outcome
from tasks.ledger.change_entries import Entry, KeepDuration
from tasks.ledger.due import OUTBOX, Due, DueKind, Lane
from tasks.ledger.durations import Duration
from tasks.ledger.events import Event
from tasks.ledger.outcome_entries import Answer, Publish
from tasks.ledger.record import Record
from tasks.ledger.records import Request

R = TypeVar("R", bound=Record)


class CommitResult(Enum):
    OK = auto()
    CONFLICT = auto()
    OVER_LIMIT = auto()
    DATA_LOST = auto()
    SERVER_CHANGED = auto()


class DueRule(Enum):
    """What a due time does to an entry that is there already."""

    AT = "at"  # replaces it
    NO_LATER = "sooner"  # moves it to this time if it is later
    IF_ABSENT = "unless"  # leaves it
    IF_DEMAND = "wake"  # replaces it if requests wait on the cluster, else removes it


@dataclass(frozen=True, slots=True)
class DueTime:
    """When an entry of the due set is due; None removes it."""

    at: int | None
    rule: DueRule = DueRule.AT


NOT_DUE = DueTime(None)


@dataclass(slots=True)
class ChangeSet:
    """A step: applied if its writes and the `expected` records are at the version they were read at.

    Fields:
        expiring: records that get the time to live of ended requests.
        sends: a call is sent once this is written, so it is refused by a ledger that has lost data.
    """

    writes: list[Record] = field(default_factory=list)
    expected: list[Record] = field(default_factory=list)
    expiring: list[Record] = field(default_factory=list)
    due: dict[Due, DueTime] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    sends: bool = False

    def write(self, *records: Record) -> None:
        self.writes.extend(records)

    def add(self, *entries: Entry) -> None:
        self.entries.extend(entries)

    def record(self, event: Event) -> None:
        self.events.append(event)

    def schedule(self, due: Due, at: int | None, rule: DueRule = DueRule.AT) -> None:
        """Make `due` due at `at`; the last call for an entry counts."""
        self.due[due] = DueTime(at, rule)

    def wake_cluster(self, cluster_id: str, at: int) -> None:
        """Have the cluster planned at `at` if requests wait there."""
        self.schedule(Due(DueKind.CLUSTER, cluster_id), at, DueRule.IF_DEMAND)

    @property
    def open_requests(self) -> list[Request]:
        """The requests that the step writes and that have not ended: who waits for them is told."""
        return [record for record in self.writes if isinstance(record, Request) and not record.ended]

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes of the requests that end in this step."""
        return [entry.outcome for entry in self.entries if isinstance(entry, Publish)]

    @property
    def durations(self) -> list[Duration]:
        """How long the operations took whose jobs end in this step."""
        return [entry.duration for entry in self.entries if isinstance(entry, KeepDuration)]

    def written(self, record: R) -> R:
        """Return `record` as it is once this step is applied."""
        same = [
            write
            for write in self.writes
            if type(write) is type(record) and write.identity == record.identity
        ]
        if not same:
            return record
        return same[-1].model_copy(update={"version": record.version + len(same)})

    def soonest_due(self) -> dict[Lane, int]:
        """Return when the first of the entries that this writes is due, by lane."""
        soonest: dict[Lane, int] = {}
        for lane, at in self._due_times():
            soonest[lane] = min(at, soonest.get(lane, at))
        return soonest

    def _due_times(self) -> Iterator[tuple[Lane, int]]:
        yield from ((due.lane, time.at) for due, time in self.due.items() if time.at is not None)
        yield from ((OUTBOX.lane, entry.at) for entry in self.entries if isinstance(entry, Publish | Answer))
