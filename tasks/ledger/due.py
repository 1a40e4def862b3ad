"""Entries of the due set: one kind of thing to look at, and which one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DueKind(StrEnum):
    CLUSTER = "cluster"
    OPERATION = "operation"
    ZONE = "zone"
    REQUEST = "request"
    OUTBOX = "outbox"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True)
class Due:
    kind: DueKind
    name: str

    @classmethod
    def parse(cls, member: str) -> Due:
        kind, _, name = member.partition(":")
        return cls(DueKind(kind), name)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


OUTBOX = Due(DueKind.OUTBOX, "all")
