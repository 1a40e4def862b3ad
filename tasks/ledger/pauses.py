"""Pauses: of everything, and of single clusters. Times in ms."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.ledger.records import Record

EVERYTHING = "everything"


class Act(BaseModel):
    """A pause that was made or lifted, kept until a worker has put it into its log."""

    model_config = ConfigDict(frozen=True)

    event: str
    at: int
    by: str
    why: str | None = None
    until: int | None = None


class Pause(Record):
    """Whether sending is paused. `scope`: EVERYTHING, or a cluster's id.

    `until`: None if only a person ends it. The record stays when the pause is over: its version, which every
    sending checks, must only grow.
    """

    scope: str
    paused: bool = False
    by: str = ""
    why: str | None = None
    since: int = 0
    until: int | None = None
    untold: tuple[Act, ...] = ()

    @property
    def identity(self) -> str:
        return self.scope

    def in_force(self, now: int) -> bool:
        return self.paused and (self.until is None or self.until > now)


@dataclass(frozen=True, slots=True)
class Pauses:
    """The two pauses that may keep an operation of a cluster from being sent."""

    of_everything: Pause
    of_cluster: Pause

    @classmethod
    def none(cls, cluster_id: str) -> Pauses:
        return cls(Pause(scope=EVERYTHING), Pause(scope=cluster_id))

    @property
    def records(self) -> tuple[Pause, Pause]:
        """To be checked by the commit that relies on there being no pause."""
        return self.of_everything, self.of_cluster

    def in_force(self, now: int) -> Pause | None:
        return next((pause for pause in self.records if pause.in_force(now)), None)
