"""How long to wait after a refusal. Knows nothing of polling."""

from __future__ import annotations

import random

MOST_S = 300.0


def backoff_ms(streak: int, first_s: float, rng: random.Random, *, most_s: float = MOST_S) -> int:
    """Full jitter over a bound that doubles with each refusal in a row, from `first_s` to `most_s`.

    At least a tenth of the bound is waited, so that a refusal is never answered by an immediate retry.
    """
    bound = min(most_s, first_s * 2 ** min(max(streak, 1) - 1, 30))
    return round(1000 * rng.uniform(bound / 10, bound))
