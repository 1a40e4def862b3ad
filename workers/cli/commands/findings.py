"""What `scaleout doctor` says of one check."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `unreachable`: it could not be made."""

    check: str
    status: Status
    detail: str
    unreachable: bool = False
