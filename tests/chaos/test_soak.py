"""A soak of a minute, so that the long one works when it is wanted; and what a soak takes for growth."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.soak import Extent, run
from tests.chaos.soak_samples import Sample, Usage
from tests.chaos.soak_verdict import BY_REQUEST, MIB, problems

NUMBER = 40
Change = Callable[[int], float]


def steady(_: int) -> float:
    return 1.0


def samples(
    rss: Change = steady,
    descriptors: Change = steady,
    threads: Change = steady,
    memory: Change = steady,
    keys: Change = steady,
    log: Change = steady,
) -> list[Sample]:
    """A sample each fifteen seconds, ten requests a sample; each value begins with 1 and changes as given."""
    return [
        Sample(
            at_s=15.0 * place,
            processes={
                ("steady", 7): Usage(
                    round(80 * MIB * rss(place)), round(20 * descriptors(place)), round(5 * threads(place))
                )
            },
            memory=round(5 * MIB * memory(place)),
            keys={"due": round(20 * keys(place)), "request": 10 * place},
            ended=10 * place,
            logs={"steady": round(10_000 * log(place))},
        )
        for place in range(NUMBER)
    ]


def found(given: list[Sample]) -> str:
    return "; ".join(problems(given, requests=10 * NUMBER, lasting=["steady"]))


def test_what_stays_or_fills_at_the_beginning_is_no_growth() -> None:
    assert found(samples()) == ""
    assert found(samples(rss=lambda place: 1 + min(place, 9) / 9)) == ""


@pytest.mark.parametrize(
    ("grown", "sentence"),
    [
        ({"rss": lambda place: 1 + place / NUMBER / 3}, "steady grew from"),
        ({"descriptors": lambda place: 1 + place / NUMBER}, "open descriptors"),
        ({"threads": lambda place: 1 + 6 * place / NUMBER}, "threads"),
        ({"memory": lambda place: 1 + place / 10}, "Redis grew by"),
        ({"keys": lambda place: 1 + 5 * place}, "the keys due went from"),
        ({"log": lambda place: 1 + 1_000 * (place == NUMBER - 1)}, "bytes a minute"),
        ({"log": lambda place: 1 + 20.0 * place}, "bytes for each request"),
    ],
)
def test_what_grows_is_named(grown: dict[str, Change], sentence: str) -> None:
    assert sentence in found(samples(**grown))


def test_a_lasting_process_that_was_replaced_is_named() -> None:
    whole = samples()
    later = [
        Sample(one.at_s, {("steady", 8): Usage(80 * MIB, 20, 5)}, one.memory, one.keys, one.ended, one.logs)
        for one in whole[20:]
    ]

    assert "did not live from the first sample" in found([*whole[:20], *later])
    assert "too few to judge" in found(whole[:5])
    assert "request" in BY_REQUEST


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_minute_of_soaking_loses_nothing_and_nothing_grows(tmp_path: Path) -> None:
    soak = run(1, tmp_path, Extent(60.0, sample_s=2.5))

    assert not soak.verdict.problems, f"{soak.history}\n{soak}"
    assert soak.requests >= 60
    assert soak.faults.total() >= 6
