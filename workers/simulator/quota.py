"""The account's API calls, counted as they arrive, refused ones too."""

from collections import deque


class CallQuota:
    """At most `calls` in any `period_s`."""

    def __init__(self, calls: int, period_s: float) -> None:
        self.calls = calls
        self.period_s = period_s
        self.most_in_a_window = 0
        self.refused = 0
        self._arrivals: deque[float] = deque()

    def count(self, now: float) -> bool:
        """Count one arrival; whether it is within the quota."""
        while self._arrivals and self._arrivals[0] <= now - self.period_s:
            self._arrivals.popleft()
        self._arrivals.append(now)
        self.most_in_a_window = max(self.most_in_a_window, len(self._arrivals))
        within = len(self._arrivals) <= self.calls
        self.refused += not within
        return within
