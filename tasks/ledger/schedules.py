"""What the ledger knows of a schedule. All workers go by this, whatever file each of them has read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from config.policy.model import Schedule
from tasks.ledger.records import Record, Refusal

What = Literal["asked", "enough", "missed"]


class Done(BaseModel):
    """What was last done: `asked` by a request, `enough` without one, or `missed`. Times in ms."""

    model_config = ConfigDict(frozen=True)

    what: What
    moment: int
    at: int
    request_id: str | None = None
    node_count: int = 0
    present: int | None = None
    on_its_way: int | None = None
    missed: int = 0


class ScheduleRecord(Record):
    """A schedule as it was last read from a policy file.

    `through`: the last moment that was dealt with, in ms; it only grows. `epoch`: the ledger that this was
    written to. `gone`: it is in the file no more; what it has dealt with is kept.
    """

    name: str
    schedule: Schedule
    epoch: str
    through: int
    last: Done | None = None
    tries: int = 0
    waits_for: Refusal | None = None
    gone: bool = False

    @property
    def identity(self) -> str:
        return self.name
