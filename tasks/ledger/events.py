"""Something that happened: its log line, its line of history and its count are made from one object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the ledger.

    Fields:
        requests: ids of the requests whose history gets a line.
        in_journal: it concerns more than single requests: it is counted and kept in the journal as well.
    """

    name: str
    level: Level = "info"
    requests: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    in_journal: bool = False
