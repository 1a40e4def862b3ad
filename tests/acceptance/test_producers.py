"""Producers that have nothing of ours: releases of Celery, Celery Beat of Django, a client in Go."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.interpreters import environment_with, interpreter
from tests.support.processes import ROOT, Process, eventually

PRODUCERS = ROOT / "tests/producers"
# Celery 4.4 imports a function that Python 3.11 does not have any more.
CELERY_4_PYTHONS = ("3.8", "3.7", "3.9", "3.10")
# Each with the kombu of its time: pip would choose a newer one for 5.2 to 5.4, which needs `packaging` too.
KOMBU = {"4.4": "4.6", "5.2": "5.2", "5.3": "5.3", "5.4": "5.4", "5.5": "5.5", "5.6": "5.6", "5.7": "5.7"}


def outcomes(server: redis.Redis) -> list[dict[str, object]]:
    entries: Any = server.xrange("scaleout:outcomes")
    return [json.loads(fields["outcome"]) for _, fields in entries]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("release", KOMBU)
def test_a_producer_with_plain_celery_gets_the_outcome(release: str, redis_url: str, tmp_path: Path) -> None:
    python = interpreter(*CELERY_4_PYTHONS) if release.startswith("4.") else Path(sys.executable)
    needed = (f"celery[redis]=={release}.*", f"kombu[redis]=={KOMBU[release]}.*")
    producer = environment_with(tmp_path / "venv", python, *needed)

    done = subprocess.run(
        [producer, PRODUCERS / "celery/producer.py", redis_url, "plain-1"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["celery"].startswith(f"{release}.")
    outcome = found["outcome"]
    assert (outcome["request_id"], outcome["status"], outcome["nodes_added"]) == ("plain-1", "succeeded", 2)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("running")
def test_a_periodic_task_of_django_celery_beat_sends_requests(
    redis_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    needed = ("celery[redis]>=5.6,<6", "django-celery-beat==2.9.*")
    python = environment_with(tmp_path / "venv", Path(sys.executable), *needed)
    project = tmp_path / "project.py"
    project.write_text((PRODUCERS / "django/project.py").read_text(encoding="utf-8"), encoding="utf-8")
    env = {**os.environ, "PRODUCER_URL": redis_url}
    subprocess.run([python, project], cwd=tmp_path, env=env, check=True)

    beat: list[str | Path] = [
        python,
        "-m",
        "celery",
        "-A",
        "project",
        "beat",
        "--loglevel",
        "INFO",
        "--schedule",
        "unused",
    ]
    with (tmp_path / "beat.log").open("wb") as log:
        running = subprocess.Popen(beat, cwd=tmp_path, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: len(outcomes(server)) >= 2, "two occurrences have ended")
        finally:
            running.terminate()
            running.wait(20)

    assert "DatabaseScheduler" in (tmp_path / "beat.log").read_text(encoding="utf-8")
    ended = outcomes(server)
    assert {outcome["status"] for outcome in ended} == {"succeeded"}
    assert len({outcome["request_id"] for outcome in ended}) == len(ended)
    assert {outcome["requested_by"] for outcome in ended} == {"django"}


def go_message(task_id: str, kwargs: Mapping[str, object]) -> str:
    """A message as gocelery writes it: protocol 1, without headers, fields in the order of its structs.

    Source: gocelery, message.go (CeleryMessage, TaskMessage), of 2019.
    """
    task = {"id": task_id, "task": "scaleout.add_nodes", "args": [], "kwargs": kwargs, "retries": 0}
    task |= {"eta": None, "expires": None}
    body = base64.b64encode(json.dumps(task, separators=(",", ":")).encode()).decode()
    properties = {
        "body_encoding": "base64",
        "correlation_id": "0b6f9d4e-6d3b-4a0e-9f0f-0b4b9e0d8f11",
        "reply_to": "5d1cfe58-35a3-4a35-8a0e-4c1f8f0a3c22",
        "delivery_info": {"priority": 0, "routing_key": "celery", "exchange": "celery"},
        "delivery_mode": 2,
        "delivery_tag": "c7a8d3c2-91c4-4d4c-8a53-0f2c5b3b7d33",
    }
    message = {"body": body, "content-type": "application/json", "properties": properties}
    return json.dumps({**message, "content-encoding": "utf-8"}, separators=(",", ":"))


def test_a_message_of_a_client_in_go_is_carried_out(server: redis.Redis, running: Process) -> None:
    kwargs = {"cluster_id": "ehpc-go000001", "node_count": 2, "zone": "jn1a"}
    server.lpush("scaleout", go_message("go-1", kwargs))

    def result() -> dict[str, object]:
        # It polls this key, and reads these fields of it.
        found: dict[str, object] = json.loads(server.get("celery-task-meta-go-1") or "{}")
        return found

    eventually(lambda: result().get("status") == "SUCCESS", "its result is there")
    outcome = result()["result"]
    assert isinstance(outcome, dict)
    assert (outcome["request_id"], outcome["status"], outcome["nodes_added"]) == ("go-1", "succeeded", 2)


def test_the_message_of_the_readme_is_carried_out(server: redis.Redis, running: Process) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (message,) = re.findall(r"redis-cli LPUSH scaleout '(.+?)'\n```", readme, re.DOTALL)
    server.lpush("scaleout", message)

    eventually(lambda: server.exists("scaleout:outcome:simulation-4713") == 1, "its outcome is there")
    outcome = json.loads(server.get("scaleout:outcome:simulation-4713") or "")
    assert (outcome["status"], outcome["nodes_added"]) == ("succeeded", 40)
