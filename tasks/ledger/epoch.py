"""What a process has seen of the ledger, to notice lost data."""

import structlog

log = structlog.get_logger(__name__)


class Epoch:
    """The ledger's `id`, its `count` of steps, which only grows, and the `step` that was the last then.

    A count alone does not show a loss: others may have written as many steps since.
    """

    def __init__(self) -> None:
        self.id = ""
        self.count = 0
        self.step = ""
        self.lost = False

    def agrees(self, name: str, count: int | str, lost: int | str, knows_step: bool) -> bool:
        """Return whether the ledger's present state can follow the one seen before."""
        if int(lost) or self.lost:
            return bool(int(lost)) is self.lost
        return not self.id or (name == self.id and int(count) >= self.count and knows_step)

    def observe(self, name: str, count: int | str, lost: int | str, step: str = "") -> None:
        """Record the ledger's present state; log a data loss.

        Args:
            step: the id of the step of this count, if it is known.
        """
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
        if name != self.id:
            self.id, self.count, self.step = name, int(count), step
        elif (step or not self.step) and int(count) >= self.count:
            # Replies of concurrent steps may arrive in another order. A conflict tells the count alone:
            # beside a step of long ago, whose id the ledger keeps no longer, it would look like a loss.
            self.count, self.step = int(count), step
        self.lost = False
