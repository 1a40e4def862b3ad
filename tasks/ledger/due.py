"""Entries of the due set: a kind of work, and what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Lane(StrEnum):
    """The two parts of the due set: many new submissions must not delay running jobs."""

    SUBMISSIONS = "submissions"
    ALL_ELSE = "all-else"


class DueKind(StrEnum):
    """What an entry is about. CLUSTER: to be planned; SUBMISSION: an operation that was not sent yet."""

    CLUSTER = "cluster"
    SUBMISSION = "submission"
    OPERATION = "operation"
    ZONE = "zone"
    REQUEST = "request"
    OUTBOX = "outbox"
    PAUSE = "pause"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Due:
    kind: DueKind
    name: str

    @classmethod
    def parse(cls, member: str) -> Due:
        kind, _, name = member.partition(":")
        return cls(DueKind(kind), name)

    @property
    def lane(self) -> Lane:
        new = self.kind in (DueKind.CLUSTER, DueKind.SUBMISSION)
        return Lane.SUBMISSIONS if new else Lane.ALL_ELSE

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def is_known(member: str) -> bool:
    """Return whether this version knows the kind of an entry."""
    return member.partition(":")[0] in set(DueKind)


OUTBOX = Due(DueKind.OUTBOX, "all")
# No webhook has this name: a space is not allowed.
NOTICES = Due(DueKind.WEBHOOK, "all notices")
