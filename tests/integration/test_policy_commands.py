"""`scaleout policy`, `scaleout schedules` and `scaleout health` where no worker runs."""

import json
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.test_command_line import NOBODY, scaleout
from tests.support.processes import environment

GOOD = """
[limits]
nodes_per_request = 500
[limits.clusters."ehpc-a"]
nodes_per_day = 900
wait = true
[allow]
clusters = ["ehpc-*"]
[[schedule]]
name = "evening"
cron = "0 19 * * 1-5"
timezone = "Asia/Shanghai"
mode = "ensure"
ready_by = true
lead_time_s = 900
cluster_id = "ehpc-b"
zone = "jn1a"
node_count = 64
[[schedule]]
name = "nightly"
cron = "30 2 * * *"
cluster_id = "ehpc-a"
zone = "jn1a"
node_count = 250
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def env(redis_url: str, policy: Path) -> dict[str, str]:
    return environment(redis_url, f"http://{NOBODY}/api", POLICY_FILE=policy)


def heartbeat(server: redis.Redis, worker: str, seconds_ago: float) -> None:
    seconds, micros = server.time()
    server.zadd("scaleout:heartbeats", {worker: round((seconds + micros / 1e6 - seconds_ago) * 1000)})


def test_a_valid_policy_is_reported_as_valid(env: dict[str, str], policy: Path) -> None:
    done = scaleout(env, "policy", "check", str(policy))

    assert (done.code, done.out) == (0, "")
    assert "is valid: 3 rules, 2 schedules" in done.err
    assert scaleout(env, "policy", "check", str(policy), "--json").json() == {
        "file": str(policy),
        "problems": [],
        "schedules": ["evening", "nightly"],
    }


def test_every_mistake_of_a_policy_has_a_line_of_its_own(env: dict[str, str], policy: Path) -> None:
    policy.write_text(GOOD.replace("Asia/Shanghai", "Asia/Shanghia").replace("ehpc-a", "EHPC"))
    done = scaleout(env, "policy", "check", str(policy), "--json")

    problems = done.json()["problems"]
    assert done.code == 2
    assert problems == [
        "schedule.\"evening\".timezone='Asia/Shanghia': is not a time zone: did you mean Asia/Shanghai?",
        "schedule.\"nightly\".cluster_id='EHPC': must match ^e?hpc-[A-Za-z0-9]{1,64}$",
        "schedule.\"nightly\".cluster_id='EHPC': is not in allow.clusters, which allows ehpc-*",
    ]
    assert done.err.splitlines() == [
        *(f"{policy}: {problem}" for problem in problems),
        f"scaleout: {policy} has 3 mistakes",
    ]


def test_the_policy_in_force_is_shown_with_its_defaults(env: dict[str, str], policy: Path) -> None:
    shown = scaleout(env, "policy", "show", "--json").json()

    assert shown["file"] == str(policy)
    assert shown["limits"]["clusters"]["ehpc-a"] == {
        "nodes_per_request": None,
        "nodes_in_flight_per_cluster": None,
        "nodes_per_cluster": None,
        "nodes_per_hour": None,
        "nodes_per_day": 900,
        "wait": True,
    }
    assert shown["schedules"][1]["requested_by"] == "schedule:nightly"
    assert shown["schedules"][1]["catch_up_s"] == 600
    text = scaleout(env, "policy", "show")
    assert 'limits.clusters."ehpc-a".nodes_per_day   900, excess waits' in text.out
    nothing = scaleout({**env, "SCALEOUT_POLICY_FILE": ""}, "policy", "show")
    assert (nothing.code, nothing.out) == (0, "")
    assert "nothing is limited" in nothing.err


@pytest.mark.parametrize(
    "command", [["policy", "show"], ["schedules"], ["schedules", "trigger", "nightly", "--yes"], ["worker"]]
)
def test_a_broken_policy_is_one_line_that_names_the_file(
    env: dict[str, str], policy: Path, command: list[str]
) -> None:
    policy.write_text("[limits]\nnodes_per_day = 0")
    done = scaleout(env, *command)

    assert (done.code, done.out) == (2, "")
    assert done.err == f"scaleout: policy file {policy}: limits.nodes_per_day=0: must be at least 1\n"


def test_schedules_that_no_worker_has_loaded_are_shown_with_five_occurrences(
    env: dict[str, str],
) -> None:
    evening, nightly = scaleout(env, "schedules", "--json").json()

    assert evening["note"] == nightly["note"] == "not in force: no worker has read this file yet"
    assert (evening["lead_time_s"], nightly["lead_time_s"]) == (900, 0)
    assert len(evening["next"]) == len(nightly["next"]) == 5
    for occurrence in evening["next"]:
        utc = datetime.fromisoformat(occurrence["utc"])
        local = datetime.fromisoformat(occurrence["local"])
        assert utc == local
        assert (local.hour, local.utcoffset()) == (19, timedelta(hours=8))
        assert local.weekday() < 5
        assert utc - datetime.fromisoformat(occurrence["requested_at"]) == timedelta(seconds=900)
    text = scaleout(env, "schedules")
    assert "at least 64 compute on ehpc-b" in text.out
    assert "0 19 * * 1-5 Asia/Shanghai" in text.out
    none = scaleout({**env, "SCALEOUT_POLICY_FILE": ""}, "schedules")
    assert (none.code, none.out, none.err) == (0, "", "nothing is scheduled\n")


def test_a_dry_run_of_a_schedule_requests_nothing(env: dict[str, str], server: redis.Redis) -> None:
    before = set(server.keys("*"))
    planned = scaleout(env, "schedules", "trigger", "nightly", "--dry-run", "--json").json()

    assert planned["dry_run"] is True
    assert planned["operations"] == [99, 99, 52]
    assert planned["request"]["cluster_id"] == "ehpc-a"
    assert planned["request"]["requested_by"] == "schedule:nightly"
    assert set(server.keys("*")) == before


def test_a_triggered_schedule_makes_a_request_of_its_own(env: dict[str, str], server: redis.Redis) -> None:
    first = scaleout(env, "schedules", "trigger", "nightly", "--yes", "--by", "anna")
    second = scaleout(env, "schedules", "trigger", "nightly", "--yes", "--json").json()

    request_id = first.out.strip()
    assert request_id.startswith("schedule:nightly:run-")
    assert second["request_id"] != request_id
    content = json.loads(str(server.hget(f"scaleout:request:{request_id}", "content")))
    assert content["spec"]["node_count"] == 250
    lines: Any = server.lrange(f"scaleout:history:{request_id}", 0, -1)
    (run,) = (line for line in map(json.loads, lines) if line["event"] == "schedule_triggered")
    assert (run["by"], run["schedule"]) == ("anna", "nightly")


def test_a_run_by_hand_wants_to_be_confirmed(env: dict[str, str], server: redis.Redis) -> None:
    done = scaleout(env, "schedules", "trigger", "nightly")

    assert done.code == 2
    assert "pass --yes" in done.err
    assert not server.keys("scaleout:request:*")


def test_an_unknown_schedule_cannot_be_triggered(env: dict[str, str]) -> None:
    done = scaleout(env, "schedules", "trigger", "weekly", "--yes")

    assert done.code == 4
    assert "no schedule weekly" in done.err


def test_mode_ensure_cannot_be_triggered_while_the_provider_is_unreachable(
    env: dict[str, str], server: redis.Redis
) -> None:
    done = scaleout(env, "schedules", "trigger", "evening", "--yes")

    assert done.code == 5
    assert "nothing was requested: the nodes of ehpc-b cannot be listed" in done.err
    assert not server.keys("scaleout:request:*")


def test_health_goes_by_the_last_tick_of_this_hosts_workers(env: dict[str, str], server: redis.Redis) -> None:
    mine, other = f"celery@{socket.gethostname()}", "celery@elsewhere"
    nobody = scaleout(env, "health")
    assert (nobody.code, nobody.out) == (1, "")
    heartbeat(server, other, 0)
    assert scaleout(env, "health").code == 1
    assert scaleout(env, "health", "--any").code == 0
    assert scaleout(env, "health", "--worker", other).code == 0
    heartbeat(server, mine, 40)
    assert scaleout(env, "health").code == 1
    assert scaleout(env, "health", "--within", "60").code == 0
    heartbeat(server, mine, 0)
    healthy = scaleout(env, "health", "--json").json()
    assert healthy["healthy"] is True
    assert [row["worker"] for row in healthy["workers"]] == [mine]
    unreachable = scaleout({**env, "SCALEOUT_REDIS_URL": f"redis://{NOBODY}/0"}, "health")
    assert unreachable.code == 5
