"""What the ledger knows of a schedule. All workers go by this, whichever policy file each has read."""

from typing import Literal

from config.policy.model import Schedule
from tasks.ledger.record import Record
from tasks.ledger.record_values import Reason, Value

Result = Literal["requested", "enough", "missed"]


class LastRun(Value):
    """How the last occurrence was handled. Times in ms.

    Fields:
        result: `requested` (by `request_id`), `enough` (nothing to request) or `missed`.
        missed: with `missed`, how many occurrences in a row.
        present, on_its_way: nodes of the role that mode `ensure` counted.
    """

    result: Result
    occurrence: int
    at: int
    request_id: str | None = None
    node_count: int = 0
    present: int | None = None
    on_its_way: int | None = None
    missed: int = 0


class ScheduleRecord(Record):
    """A schedule as it was last read from a policy file.

    Fields:
        epoch: id of the ledger that this was written to.
        last_handled: the last occurrence that was handled, in ms; it only grows.
        gone: the file has it no more; the record stays, so that nothing fires twice if it returns.
    """

    name: str
    schedule: Schedule
    epoch: str
    last_handled: int
    last: LastRun | None = None
    attempts: int = 0
    wait_reason: Reason | None = None
    gone: bool = False

    @property
    def identity(self) -> str:
        return self.name
