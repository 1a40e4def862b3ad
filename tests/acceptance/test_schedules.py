"""Schedules as an operator has them: a file, a real worker, and the simulator at the socket."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_command_line import scaleout
from tests.support.processes import ROOT, Simulator, environment, eventually, simulator, worker

SOON_S = 4


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Simulator]:
    with simulator(tmp_path / "simulator.log") as running:
        yield running


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


@pytest.fixture
def env(redis_url: str, provider: Simulator, policy: Path) -> dict[str, str]:
    return environment(redis_url, provider.api_url, POLICY_FILE=policy)


def soon(name: str, *, cluster_id: str = "ehpc-a", **keys: Any) -> str:
    """A schedule whose nodes have to be there at a full minute, and are requested within seconds."""
    now = datetime.now(UTC)
    occurrence = (now + timedelta(seconds=SOON_S + 10)).replace(second=0, microsecond=0) + timedelta(
        minutes=1
    )
    given = {
        "name": name,
        "cron": f"{occurrence.minute} {occurrence.hour} * * *",
        "cluster_id": cluster_id,
        "zone": "jn1a",
        "ready_by": True,
        "lead_time": "fixed",
        "lead_time_s": int((occurrence - now).total_seconds()) - SOON_S,
        **keys,
    }
    lines = (
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in given.items()
    )
    return "\n".join(["[[schedule]]", *lines, ""])


def test_a_schedule_completes_a_cluster_before_the_occurrence(
    env: dict[str, str], provider: Simulator, policy: Path, tmp_path: Path
) -> None:
    policy.write_text("")
    two = ("submit", "--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "2", "--wait", "--timeout", "30")
    with worker(env, tmp_path / "worker.log") as running:
        done = scaleout(env, *two)
        assert done.code == 0, done.err
        policy.write_text(soon("morning", mode="ensure", node_count=5))
        eventually(lambda: bool(running.events("schedule_fired")), "the schedule fires")
        (fired,) = running.events("schedule_fired")
        assert (fired["node_count"], fired["present"], fired["on_its_way"]) == (3, 2, 0)
        assert scaleout(env, "wait", fired["request_id"], "--timeout", "30").code == 0
        (shown,) = scaleout(env, "schedules", "--json").json()

    assert provider.nodes("ehpc-a") == 5
    assert shown["note"] is None
    assert (shown["last"]["result"], shown["last"]["state"]) == ("requested", "succeeded")
    assert fired["request_id"] == shown["last"]["request_id"]
    assert fired["late_s"] == 0


def test_a_valid_changed_file_is_loaded_without_a_restart(
    env: dict[str, str], provider: Simulator, policy: Path, tmp_path: Path
) -> None:
    policy.write_text("# nothing yet\n")
    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: bool(running.events("policy_loaded")), "the file is read")
        policy.write_text(soon("late", node_count=1))
        eventually(lambda: bool(running.events("schedule_added")), "the schedule is put into the ledger")
        policy.write_text("[[schedule]")
        eventually(lambda: bool(running.events("policy_invalid")), "the broken file is refused")
        eventually(lambda: bool(running.events("schedule_fired")), "the schedule fires all the same")
        policy.write_text("# nothing any more\n")
        eventually(lambda: bool(running.events("schedule_removed")), "the schedule is taken out")
        (refused,) = running.events("policy_invalid")

    assert refused["level"] == "error"
    assert refused["problems"][0].startswith("is not TOML")
    assert scaleout(env, "schedules").err == "nothing is scheduled\n"


def test_two_workers_fire_one_occurrence_once(
    env: dict[str, str], provider: Simulator, policy: Path, tmp_path: Path
) -> None:
    policy.write_text(soon("twice", node_count=2) + soon("thrice", cluster_id="ehpc-b", node_count=3))
    with (
        worker(env, tmp_path / "one.log", "-n", "one@%h") as one,
        worker(env, tmp_path / "two.log", "-n", "two@%h") as two,
    ):
        eventually(lambda: len(one.events("schedule_fired") + two.events("schedule_fired")) == 2, "both fire")
        eventually(lambda: provider.nodes() == 5, "the nodes are there")
        time.sleep(1)
        fired = one.events("schedule_fired") + two.events("schedule_fired")

    assert sorted(event["schedule"] for event in fired) == ["thrice", "twice"]
    assert provider.nodes() == 5


def test_a_run_by_hand_counts_what_is_there(
    env: dict[str, str], provider: Simulator, policy: Path, tmp_path: Path
) -> None:
    policy.write_text(soon("ensured", mode="ensure", node_count=3).replace("* * *", "1 1 *"))
    with worker(env, tmp_path / "worker.log"):
        planned = scaleout(env, "schedules", "trigger", "ensured", "--dry-run", "--json").json()
        assert (planned["node_count"], planned["present"], planned["on_its_way"]) == (3, 0, 0)
        first = scaleout(env, "schedules", "trigger", "ensured", "--yes")
        assert scaleout(env, "wait", first.out.strip(), "--timeout", "30").code == 0
        second = scaleout(env, "schedules", "trigger", "ensured", "--yes", "--json")

    assert second.json() == {"request_id": None, "node_count": 0}
    assert "has enough nodes" in second.err
    assert provider.nodes() == 3


def test_a_worker_whose_policy_is_broken_ends_at_once_with_one_line(
    env: dict[str, str], policy: Path
) -> None:
    policy.write_text("[limits]\nnodes_per_day = 0\n[allow]\nzones = []\n")
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", "worker"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    problems = (
        "limits.nodes_per_day=0: must be at least 1",
        "allow.zones=[]: must not be empty: leave it out instead",
    )
    # Before it, Celery may warn of whom it runs as.
    assert done.stderr.splitlines()[-1] == f"scaleout: policy file {policy}: {'; '.join(problems)}"
    assert "Traceback" not in done.stderr


def test_a_worker_that_ticks_is_healthy_and_one_that_hangs_is_not(
    env: dict[str, str], policy: Path, tmp_path: Path
) -> None:
    policy.write_text("")
    with worker(env, tmp_path / "worker.log") as running:
        eventually(lambda: scaleout(env, "health").code == 0, "the worker ticks")
        running.popen.send_signal(signal.SIGSTOP)
        eventually(lambda: scaleout(env, "health", "--within", "2").code == 1, "its ticks are missed")
        running.popen.send_signal(signal.SIGCONT)
        eventually(lambda: scaleout(env, "health", "--within", "2").code == 0, "it ticks again")
