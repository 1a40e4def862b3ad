"""How long nothing is taken from the queues after something has failed."""

from time import monotonic

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0


class Pause:
    """How long nothing is taken from the queues: longer each time, until a message has been done.

    Fields:
        refused: the server's refusal is the reason.
    """

    def __init__(self) -> None:
        self.refused = False
        self._until = 0.0
        self._last_s = 0.0

    def extend(self) -> None:
        """Begin a pause, twice as long as the one before."""
        if not self.lasts():
            self._last_s = min(MAX_PAUSE_S, 2 * self._last_s or FIRST_PAUSE_S)
            self._until = monotonic() + self._last_s

    def lasts(self) -> bool:
        return monotonic() < self._until

    def end(self) -> None:
        """Begin with a short one next time."""
        self._last_s = 0.0
