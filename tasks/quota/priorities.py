"""What API calls are for, and how much of the quota each priority may use."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class CallPriority(Enum):
    """What a call is for, and the fraction of the window up to which it is granted.

    New submissions stop first, so that they can never take the calls that running jobs need.
    """

    SUBMIT = 0.92
    RECONCILE = 0.95
    POLL = 0.98


# A submission is not granted either while all calls but polls use this fraction of the window: the rest is
# kept free for polls. The calls that polls have used become free for them again as they leave the window.
MAX_EXCEPT_POLLING = 0.85
NUMBERS = {priority: number for number, priority in enumerate(CallPriority, start=1)}


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """Calls that count in the window now; `exhausted_until_ms`: until when the provider refuses more."""

    by_priority: Mapping[CallPriority, int]
    limit: int
    exhausted_until_ms: int | None

    @property
    def used(self) -> int:
        return sum(self.by_priority.values())

    def limit_for(self, priority: CallPriority) -> int:
        """Return up to how many calls in the window this priority is granted now."""
        except_polling = max_calls_except_polling(priority, self.limit)
        return min(max_calls(priority, self.limit), except_polling + self.by_priority[CallPriority.POLL])


def max_calls(priority: CallPriority, limit: int) -> int:
    """Return up to how many calls in a window of `limit` this priority is granted.

    However small the limit, one call is left for polls.
    """
    maximum = int(limit * priority.value)
    of_polls = int(limit * CallPriority.POLL.value)
    return maximum if priority is CallPriority.POLL else min(maximum, of_polls - 1)


def max_calls_except_polling(priority: CallPriority, limit: int) -> int:
    """Return up to how many calls except polls this priority is granted: fewer only for submissions."""
    if priority is not CallPriority.SUBMIT:
        return limit
    return min(int(limit * MAX_EXCEPT_POLLING), max_calls(CallPriority.RECONCILE, limit))


@dataclass(frozen=True, slots=True)
class PollingBudget:
    """What polls of all zones share.

    Fields:
        others: calls of other priorities in the window.
        calls_per_poll: calls that one poll of every zone takes.
    """

    others: int
    calls_per_poll: int
    limit: int
    window_s: float
