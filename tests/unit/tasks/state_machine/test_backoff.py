"""How long is waited after a refusal."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tasks.state_machine.backoff import BackoffPolicy


class Extreme(random.Random):
    """Draws always the least, or always the most."""

    def __init__(self, share: float) -> None:
        super().__init__(0)
        self._share = share

    def random(self) -> float:
        return self._share


LEAST, MOST = Extreme(0.0), Extreme(1.0)


@given(st.integers(-5, 10**9), st.floats(0.001, 300), st.randoms(use_true_random=False))
def test_it_is_between_a_tenth_of_the_bound_and_the_bound(
    consecutive_failures: int, first_s: float, rng: random.Random
) -> None:
    least, most = (
        BackoffPolicy(first_s, LEAST).wait_ms(consecutive_failures),
        BackoffPolicy(first_s, MOST).wait_ms(consecutive_failures),
    )

    assert least <= BackoffPolicy(first_s, rng).wait_ms(consecutive_failures) <= most
    assert most <= 300_000
    assert abs(most - 10 * least) <= 10


def test_the_bound_doubles_from_the_setting_to_five_minutes_and_no_further() -> None:
    bounds = [
        BackoffPolicy(5.0, MOST).wait_ms(consecutive_failures)
        for consecutive_failures in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10_000)
    ]

    assert bounds == [5_000, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]


def test_the_whole_range_is_used_so_that_waiters_do_not_come_together() -> None:
    rng = random.Random(11)

    drawn = [BackoffPolicy(10.0, rng).wait_ms(1) for _ in range(500)]

    assert min(drawn) < 1_200
    assert max(drawn) > 9_800
    assert len(set(drawn)) > 400
