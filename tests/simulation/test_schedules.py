"""Schedules in the simulated world: each occurrence once, whatever happens to the workers."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.schedules.request_ids import request_id
from tests.simulation.faults import Chances
from tests.simulation.world import World

BEGIN = datetime.fromtimestamp(1_700_000_000, UTC)  # 2023-11-14T22:13:20Z
FIRST = BEGIN.replace(minute=15, second=0)
EVERY = timedelta(minutes=5)
KILLS = Chances(
    crash=0.01,
    stop=0.004,
    redis_fails=0.01,
    sends_twice=0.1,
    message_lost=0.1,
    read_fails=0.02,
    read_is_slow=0.3,
    time_passes=0.005,
)


def policy(folder: Path, *schedules: dict[str, Any]) -> Path:
    """A file with schedules every five minutes."""
    given = {"cron": "*/5 * * * *", "zone": "jn1a", "node_count": 2}
    path = folder / "policy.toml"
    tables = [
        "[[schedule]]\n" + "\n".join(f"{key} = {_toml(value)}" for key, value in {**given, **keys}.items())
        for keys in schedules
    ]
    path.write_text("\n\n".join(tables))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def occurrences(name: str, count: int) -> list[str]:
    """Ids of the first `count` occurrences after the world's beginning."""
    return [request_id(name, round((FIRST + EVERY * n).timestamp() * 1000)) for n in range(count)]


def spec(server: redis.Redis, name: str) -> dict[str, list[dict[str, Any]]]:
    """The requests that the schedule has made, and the history of each."""
    keys = sorted(map(str, server.keys(f"scaleout:request:schedule:{name}:*")))
    ids = [key.removeprefix("scaleout:request:") for key in keys]
    return {
        name: [json.loads(line) for line in server.lrange(f"scaleout:history:{name}", 0, -1)] for name in ids
    }


def record(server: redis.Redis, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(str(server.hget(f"scaleout:schedule:{name}", "content")))
    return content


def nodes(world: World, cluster_id: str) -> int:
    return len(world.provider.cloud.nodes("jn1a", cluster_id))


def live(server: redis.Redis, path: Path, *requests: dict[str, Any], **options: Any) -> World:
    """A world to its end. What goes wrong with a first request would otherwise lock a cluster for good."""

    async def run() -> World:
        world = World(server, policy_file=path, **options)
        for number, fields in enumerate(requests):
            world.send(f"r-{number}", **fields)
        await world.run()
        return world

    return asyncio.run(run())


def test_each_occurrence_fires_once_and_an_ended_schedule_leaves_nothing(
    server: redis.Redis, tmp_path: Path
) -> None:
    ends = FIRST + EVERY * 11
    path = policy(tmp_path, {"name": "s", "cluster_id": "ehpc-1", "not_after": ends})

    world = live(server, path, workers=3)

    assert list(spec(server, "s")) == occurrences("s", 12)
    assert nodes(world, "ehpc-1") == 24


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1])
def test_workers_under_kills_fire_each_of_two_hundred_occurrences_exactly_once(
    server: redis.Redis, tmp_path: Path, seed: int
) -> None:
    names = ("a", "b", "c", "d")
    ends = FIRST + EVERY * 49
    path = policy(
        tmp_path, *({"name": name, "cluster_id": f"ehpc-{name}", "not_after": ends} for name in names)
    )

    world = live(server, path, workers=3, seed=seed, chances=KILLS, checked_every=100)

    assert world.faults["crash"] > 40
    for name in names:
        found = spec(server, name)
        assert list(found) == occurrences(name, 50)
        for history in found.values():
            events = Counter(line["event"] for line in history)
            assert (events["request_accepted"], events["schedule_fired"]) == (1, 1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(1, 9))
def test_mode_ensure_never_exceeds_its_count_whatever_dies(
    server: redis.Redis, tmp_path: Path, seed: int
) -> None:
    ends = FIRST + EVERY * 5
    path = policy(
        tmp_path,
        {"name": "s", "cluster_id": "ehpc-1", "not_after": ends, "mode": "ensure", "node_count": 140},
        # At the same times, for the same nodes.
        {"name": "t", "cluster_id": "ehpc-1", "not_after": ends, "mode": "ensure", "node_count": 120},
    )
    others = [
        {"cluster_id": "ehpc-0", "node_count": 1},
        {"cluster_id": "ehpc-1", "node_count": 110, "deadline_s": 80_000},
        {"cluster_id": "ehpc-1", "node_count": 5, "deadline_s": 80_000, "resource_conf": {"cpu": 4}},
        {"cluster_id": "ehpc-1", "node_count": 3, "deadline_s": 80_000, "node_role": "login"},
    ]

    world = live(server, path, *others, workers=3, seed=seed, chances=KILLS)

    assert nodes(world, "ehpc-1") <= 140 + 3
    late = sum(1 for name in ("s", "t") if record(server, name)["last"]["result"] == "missed")
    assert nodes(world, "ehpc-1") == 140 + 3 or late or world.ever_held


def test_mode_ensure_requests_again_only_when_nodes_have_gone(server: redis.Redis, tmp_path: Path) -> None:
    ends = FIRST + EVERY * 3
    keys = {"name": "s", "cluster_id": "ehpc-1", "not_after": ends, "mode": "ensure", "node_count": 6}

    world = live(server, policy(tmp_path, keys), {"cluster_id": "ehpc-1", "node_count": 4})

    assert list(spec(server, "s")) == occurrences("s", 1)
    assert nodes(world, "ehpc-1") == 6
    last = record(server, "s")["last"]
    assert (last["result"], last["present"], last["on_its_way"]) == ("enough", 6, 0)
