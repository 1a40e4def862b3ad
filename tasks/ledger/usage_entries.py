"""The entries of a change set that count nodes for limits. Times in ms."""

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.ledger.keys import Command, Keys


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """The step is applied only if `nodes` more on the counter make at most `maximum`."""

    scope: str
    window_s: int
    nodes: int
    maximum: int

    def commands(self, keys: Keys) -> Iterator[Command]:
        times, nodes = keys.usage(self.scope, self.window_s)
        yield "within", times, nodes, self.window_s * 1000, self.nodes, self.maximum


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """`nodes` of `name` count on a counter, from `at` on for its window.

    Fields:
        at: None as long as it is unknown when they were, or will be, bought: they count until it is known.
        enters: whether an entry that is not there is made. No nodes take an entry away.
    """

    scope: str
    window_s: int
    name: str
    nodes: int
    at: int | None
    enters: bool

    def commands(self, keys: Keys) -> Iterator[Command]:
        times, nodes = keys.usage(self.scope, self.window_s)
        at = "+inf" if self.at is None else self.at
        yield "spend", times, nodes, self.window_s * 1000, self.name, self.nodes, at, int(self.enters)
