"""What the pages about schedules show is right."""

import os
import re
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import redis

from config.policy.model import Policy
from tasks.contract.policy_file import read_policy
from tests.support.processes import ROOT, environment, eventually, process, simulator, worker

PAGE = (ROOT / "docs/how-to/schedules.md").read_text(encoding="utf-8")
BEAT_PAGE = (ROOT / "docs/how-to/celery-beat.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
(BEAT,) = re.findall(r"```python\n(.*?)```", BEAT_PAGE, re.DOTALL)


def read(text: str, tmp_path: Path) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return read_policy(path)


@pytest.mark.parametrize("number", range(3))
def test_each_example_is_a_policy_as_it_stands(number: int, tmp_path: Path) -> None:
    assert len(EXAMPLES) == 3
    assert len(read(EXAMPLES[number], tmp_path).schedules) == 1


def test_the_examples_have_the_occurrences_that_the_page_names(tmp_path: Path) -> None:
    evening, monthly, often = (read(text, tmp_path).schedules[0] for text in EXAMPLES)

    since = datetime(2026, 11, 24, 20, tzinfo=UTC)
    assert [f"{at:%Y-%m-%d %H:%M}" for at in islice(evening.occurrences(since), 3)] == [
        "2026-11-25 11:00",
        "2026-11-26 11:00",
        "2026-11-27 11:00",
    ]
    berlin = [at.astimezone(ZoneInfo("Europe/Berlin")) for at in monthly.occurrences(since)]
    assert [at.date() for at in berlin] == [
        date(2026, 12, 6),
        date(2027, 1, 3),
        date(2027, 2, 7),
        date(2027, 3, 7),
        date(2027, 4, 4),
        date(2027, 5, 2),
        date(2027, 6, 6),
    ]
    shanghai = [at.astimezone(ZoneInfo("Asia/Shanghai")) for at in islice(often.occurrences(since), 66)]
    assert {at.hour for at in shanghai} == set(range(8, 19))
    assert len({at.date() for at in shanghai}) == 1


def test_an_own_beat_makes_one_request_for_each_id(
    redis_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    producer = BEAT.replace("redis://localhost:6379/0", redis_url)
    producer, changed = re.subn(r"crontab\(.*?\)\}", "0.5}", producer)
    assert changed == 1
    (tmp_path / "my_service.py").write_text(producer)
    beat = ["-m", "celery", "-A", "my_service", "worker", "-B", "--pool", "solo", "-l", "info"]
    schedule = ["--schedule", str(tmp_path / "beat")]
    with (
        simulator(tmp_path / "simulator.log") as provider,
        worker(environment(redis_url, provider.api_url), tmp_path / "worker.log") as running,
        process(
            [*beat, *schedule], {**os.environ, "PYTHONPATH": str(tmp_path)}, tmp_path / "beat.log"
        ) as mine,
    ):
        eventually(lambda: mine.text().count("my_service.evening") >= 3, "the beat fires some times")
        eventually(lambda: provider.nodes() == 64, "the nodes are there")
        ids = {event["request_id"] for event in running.events("request_accepted")}

    assert len(ids) <= 2, "one for each day, and midnight may pass"
    assert provider_nodes(server) == 64 * len(ids)


def provider_nodes(server: redis.Redis) -> int:
    outcomes = [str(server.get(key)) for key in server.scan_iter("scaleout:outcome:*")]
    return sum(int(re.findall(r'"nodes_added":(\d+)', outcome)[0]) for outcome in outcomes)
