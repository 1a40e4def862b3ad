"""PURE: how long to wait after a refusal. Knows nothing of polling."""

import random
from dataclasses import dataclass

MAX_S = 300.0


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """`first_s`: the bound after the first failure, in seconds."""

    first_s: float
    rng: random.Random

    def wait_ms(self, consecutive_failures: int, *, max_s: float = MAX_S) -> int:
        """Return how long to wait: full jitter over a bound that doubles with each failure, up to `max_s`.

        At least a tenth of the bound is waited, so that a refusal is never answered by an immediate retry.
        """
        bound = min(max_s, self.first_s * 2 ** min(max(consecutive_failures, 1) - 1, 30))
        return round(1000 * self.rng.uniform(bound / 10, bound))
