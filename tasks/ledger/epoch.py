"""What a process has seen of the ledger, to notice lost data."""

import structlog

log = structlog.get_logger(__name__)


class Epoch:
    """The ledger's `id`, and its `count` of steps, which only grows."""

    def __init__(self) -> None:
        self.id = ""
        self.count = 0
        self.lost = False

    def agrees(self, name: str, count: int | str, lost: int | str) -> bool:
        """Return whether the ledger's present state can follow the one seen before."""
        if int(lost) or self.lost:
            return bool(int(lost)) is self.lost
        return not self.id or (name == self.id and int(count) >= self.count)

    def observe(self, name: str, count: int | str, lost: int | str) -> None:
        """Record the ledger's present state; log a data loss."""
        if int(lost):
            if not self.lost:
                log.error(
                    "ledger_data_loss",
                    detail="data is missing from the ledger: nothing is sent; see scaleout doctor",
                )
            self.lost = True
            return
        if self.lost:
            log.info("ledger_data_loss_acknowledged")
        self.id, self.count, self.lost = name, max(int(count), self.count if name == self.id else 0), False
