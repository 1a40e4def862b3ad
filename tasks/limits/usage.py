"""Pure: what is counted for a limit, and how much is in use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UsageCounter:
    """A running sum of nodes.

    Fields:
        scope: its name, such as `account` or `cluster:ehpc-1`.
        window_s: nodes count for this many seconds; 0 means until their request has ended.
        producer: count only nodes of this `requested_by`; None counts all.
    """

    scope: str
    window_s: int
    producer: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """The state of a counter.

    Fields:
        used: nodes that count now.
        leaving: pairs of (time in ms, nodes) that leave the window, soonest first.
    """

    used: int = 0
    leaving: tuple[tuple[int, int], ...] = ()
