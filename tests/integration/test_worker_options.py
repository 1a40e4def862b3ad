"""Celery's options of a worker: each works, or is refused at the start in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

from tests.support.processes import ROOT, Simulator, environment, eventually, process, worker

REFUSED = {
    "-P prefork": "--pool prefork is not supported",
    "--pool=solo": "--pool solo is not supported",
    "--autoscale 4,1": "--autoscale is not supported",
    "-B": "--beat is not supported",
    "--max-tasks-per-child 3": "--max-tasks-per-child has no effect",
    "--time-limit 3": "--time-limit has no effect",
    "-Q other": "leaves out the queue scaleout",
    "-X scaleout": "leaves out the queue of requests",
    "--logfile /nowhere/w.log": "cannot be written",
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_cannot_work_is_refused_in_one_line(redis_url: str, options: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", "worker", *options.split()],
        cwd=ROOT,
        env=environment(redis_url, "http://127.0.0.1:1/api"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("scaleout: ")
    assert REFUSED[options] in line


@pytest.mark.timeout(90)
def test_all_else_works_and_every_line_is_json(redis_url: str, provider: Simulator, tmp_path: Path) -> None:
    env = environment(redis_url, provider.api_url, LOG_LEVEL="ERROR")
    options = ["-Q", "scaleout", "-c", "2", "-n", "me@%h", "-l", "INFO", "--without-heartbeat"]
    with (
        worker(env, tmp_path / "worker.log", *options) as running,
        Celery(broker=redis_url, backend=redis_url) as client,
    ):
        kwargs = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
        result = client.send_task("scaleout.add_nodes", queue="scaleout", kwargs=kwargs)
        assert result.get(timeout=30)["status"] == "succeeded"
    events = [json.loads(line)["event"] for line in running.text().splitlines()]
    assert any(event.startswith("me@") for event in events)
    assert "request_finished" in events
    assert "worker: Warm shutdown (MainProcess)" in events


@pytest.mark.timeout(60)
def test_the_log_goes_to_the_file_that_is_named(redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "me.log"
    env = environment(redis_url, "http://127.0.0.1:1/api")
    options = ["worker", "--logfile", str(tmp_path / "%n.log"), "-n", "me@%h"]
    with process(["-m", "celery", "-A", "workers", *options], env, tmp_path / "output.log") as started:
        eventually(lambda: log.exists() and " ready." in log.read_text(encoding="utf-8"), "it is ready")
        assert started.text() == ""
