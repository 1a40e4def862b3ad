"""What a cluster remembers of a pool whose operations fail. Times in ms."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Breaker(BaseModel):
    """Kept from a pool's first failure to its next success.

    `opened`: how often it has opened since; not 0 means that nothing of the pool is sent until `until`, and
    from then on one small operation at a time, until one succeeds. `said`: what explained the last failure.
    """

    model_config = ConfigDict(frozen=True)

    zone: str
    node_role: str
    failures: int = 0
    failed_at: int = 0
    said: str = ""
    opened: int = 0
    since: int = 0
    until: int = 0

    @property
    def is_open(self) -> bool:
        return self.opened > 0
