"""What a rule of the policy says against a request, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from config.timestamps import timestamp


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that is broken. `rule`: its key path in the policy; `text`: all of it in a sentence.

    `present`: what the rule is compared with, without the `asked` nodes. `waits`: waiting is allowed and may
    help; `until`: from when on (ms), if that is known.
    """

    rule: str
    limit: int | tuple[str, ...]
    present: int | str
    asked: int
    what: str
    waits: bool = False
    until: int | None = None

    @property
    def text(self) -> str:
        limit = self.limit if isinstance(self.limit, int) else ", ".join(self.limit)
        later = f"; there is room from {timestamp(self.until)} on" if self.until is not None else ""
        return f"{self.rule} = {limit}: {self.what}{later}"

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "limit": self.limit if isinstance(self.limit, int) else list(self.limit),
            "present": self.present,
            "asked": self.asked,
            "waits": self.waits,
            "until": None if self.until is None else timestamp(self.until),
            "message": self.text,
        }
