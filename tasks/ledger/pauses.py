"""Pauses: of everything, and of single clusters. Times in ms."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.ledger.due import Due, DueKind
from tasks.ledger.record import Record
from tasks.ledger.record_values import Value

EVERYTHING = "everything"


class PauseEvent(Value):
    """A pause was made or lifted; kept until a worker has logged it."""

    event: str
    at: int
    by: str
    reason: str | None = None
    until: int | None = None


class Pause(Record):
    """Whether sending is paused.

    The record stays when the pause is over: its version, which every submission checks, must only grow.

    Fields:
        scope: EVERYTHING, or a cluster's id.
        until: when it ends by itself; None if only an operator ends it.
    """

    scope: str
    paused: bool = False
    by: str = ""
    reason: str | None = None
    since: int = 0
    until: int | None = None
    unlogged: tuple[PauseEvent, ...] = ()

    @property
    def identity(self) -> str:
        return self.scope

    @property
    def due(self) -> Due:
        return Due(DueKind.PAUSE, self.scope)

    def in_force(self, now: int) -> bool:
        return self.paused and (self.until is None or self.until > now)


@dataclass(frozen=True, slots=True)
class Pauses:
    """The two pauses that can keep an operation of a cluster from being sent."""

    of_everything: Pause
    of_cluster: Pause

    @classmethod
    def none(cls, cluster_id: str) -> Pauses:
        return cls(Pause(scope=EVERYTHING), Pause(scope=cluster_id))

    @property
    def records(self) -> tuple[Pause, Pause]:
        """The records that a commit must expect if it relies on there being no pause."""
        return self.of_everything, self.of_cluster

    def in_force(self, now: int) -> Pause | None:
        return next((pause for pause in self.records if pause.in_force(now)), None)
