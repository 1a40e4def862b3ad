"""What webhooks are told of: noted in the step in which it happens. Times in ms."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from config.policy.model import WebhookEvent
from tasks.ledger.due import NOTICES
from tasks.ledger.keys import Command, Keys
from tasks.ledger.record_values import Value

ID_CHARS = 24


class Notice(Value):
    """Something that happened; what is told of it is read from the ledger later.

    Fields:
        notice_id: the same whenever it is told, to whomever.
        subject: the request, operation or pause; what is about the same one is told in order.
        said: what the ledger does not keep.
    """

    kind: WebhookEvent | Literal["test"]
    notice_id: str
    subject: str
    at: int
    said: dict[str, str | None] = Field(default_factory=dict)


def notice_of(kind: WebhookEvent, subject: str, at: int, said: dict[str, str | None] | None = None) -> Notice:
    """Return the notice; its id depends on kind, subject and time alone."""
    return Notice(kind=kind, notice_id=notice_id(kind, subject, at), subject=subject, at=at, said=said or {})


def notice_id(kind: str, subject: str, at: int) -> str:
    digest = hashlib.sha256(f"{kind} {subject} {at}".encode()).hexdigest()
    return f"msg_{digest[:ID_CHARS]}"


@dataclass(frozen=True, slots=True)
class Notify:
    """Webhooks, if there are any, are told."""

    notice: Notice

    def commands(self, keys: Keys) -> Iterator[Command]:
        text, at = self.notice.model_dump_json(exclude_defaults=True), self.notice.at
        yield "notice", keys.webhooks, keys.notices, keys.due(NOTICES.lane), text, at, str(NOTICES)
