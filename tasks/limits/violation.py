"""PURE: a rule of the policy that a request breaks, for people and programs."""

from dataclasses import dataclass
from typing import Any

from config.timestamps import timestamp


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that is broken.

    Fields:
        rule: its key path in the policy.
        present: what the limit is compared with, without the `requested` nodes.
        what: the comparison in words.
        waits: waiting is allowed and may help; `until`: from when on (ms), if that is known.
    """

    rule: str
    limit: int | tuple[str, ...]
    present: int | str
    requested: int
    what: str
    waits: bool = False
    until: int | None = None

    @property
    def text(self) -> str:
        """The violation in a sentence."""
        limit = self.limit if isinstance(self.limit, int) else ", ".join(self.limit)
        later = f"; there is room from {timestamp(self.until)} on" if self.until is not None else ""
        return f"{self.rule} = {limit}: {self.what}{later}"

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "limit": self.limit if isinstance(self.limit, int) else list(self.limit),
            "present": self.present,
            "requested": self.requested,
            "waits": self.waits,
            "until": None if self.until is None else timestamp(self.until),
            "message": self.text,
        }
