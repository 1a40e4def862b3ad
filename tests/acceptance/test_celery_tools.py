"""What is built around Celery works with a worker of ours: its commands, Flower, producers in Node."""

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support.ports import free_port
from tests.support.processes import ROOT, Simulator, environment, eventually, process, worker

pytestmark = pytest.mark.timeout(120)
FIELDS = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
NODE = ROOT / "tests/producers/node"


@pytest.fixture
def env(redis_url: str, provider: Simulator) -> dict[str, str]:
    return environment(redis_url, provider.api_url)


def celery(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celery", *arguments],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def is_ready(log: Path) -> bool:
    return log.exists() and " ready." in log.read_text(encoding="utf-8")


def request_nodes(redis_url: str) -> str:
    with Celery(broker=redis_url, backend=redis_url, set_as_current=False) as client:
        result = client.send_task("scaleout.add_nodes", queue="scaleout", kwargs=FIELDS)
        return str(result.get(timeout=30)["status"])


def test_celery_multi_starts_and_stops_workers(redis_url: str, env: dict[str, str], tmp_path: Path) -> None:
    files = [f"--pidfile={tmp_path}/%n.pid", f"--logfile={tmp_path}/%n.log"]

    def multi(command: str) -> int:
        return celery(env, "multi", command, "2", "-A", "workers", *files).returncode

    assert multi("start") == 0
    try:
        logs = [tmp_path / f"celery{number}.log" for number in (1, 2)]
        eventually(
            lambda: all(log.exists() and " ready." in log.read_text() for log in logs), "both are ready"
        )
        assert request_nodes(redis_url) == "succeeded"
    finally:
        multi("stopwait")

    assert not list(tmp_path.glob("*.pid"))
    for log in logs:
        assert [json.loads(line)["event"] for line in log.read_text(encoding="utf-8").splitlines()]


def test_celerys_own_commands_call_show_and_purge(
    server: redis.Redis, env: dict[str, str], tmp_path: Path
) -> None:
    call = [
        "-A",
        "workers",
        "call",
        "scaleout.add_nodes",
        "--queue",
        "scaleout",
        "--kwargs",
        json.dumps(FIELDS),
    ]
    with worker(env, tmp_path / "worker.log", "-n", "one@here"):
        status = celery(env, "-A", "workers", "status")
        inspected = celery(env, "-A", "workers", "inspect", "active_queues", "--json")
        task_id = celery(env, *call).stdout.strip()
        eventually(lambda: server.exists(f"scaleout:outcome:{task_id}") == 1, "it has ended")
        result = celery(env, "-A", "workers", "result", task_id)
    celery(env, *call)
    purged = celery(env, "-A", "workers", "purge", "-f")

    assert "one@here" in status.stdout
    assert {queue["name"] for queue in json.loads(inspected.stdout)["one@here"]} == {
        "scaleout",
        "scaleout.sweep",
    }
    assert "'status': 'succeeded'" in result.stdout
    assert "Purged 1 message" in purged.stdout
    assert server.llen("scaleout") == 0


@contextmanager
def flower(env: Mapping[str, str], log: Path) -> Iterator[str]:
    """Flower beside a worker; its URL."""
    port = free_port()
    arguments = ["-m", "celery", "-A", "workers", "flower", f"--port={port}", "--address=127.0.0.1"]
    with process(arguments, {**env, "FLOWER_UNAUTHENTICATED_API": "true"}, log) as started:
        started.until_written("Connected to redis")
        yield f"http://127.0.0.1:{port}"


def fetched(url: str, content: object = None) -> bytes:
    body = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=20) as reply:
        text: bytes = reply.read()
        return text


def test_flower_shows_workers_queues_and_outcomes(
    redis_url: str, env: dict[str, str], tmp_path: Path
) -> None:
    with worker(env, tmp_path / "worker.log", "-n", "one@here"), flower(env, tmp_path / "flower.log") as url:
        queues = json.loads(fetched(f"{url}/api/queues/length"))["active_queues"]
        sent = {"kwargs": FIELDS, "options": {"queue": "scaleout"}}
        task_id = json.loads(fetched(f"{url}/api/task/send-task/scaleout.add_nodes", sent))["task-id"]
        found: dict[str, Any] = {}

        def has_ended() -> bool:
            found.update(json.loads(fetched(f"{url}/api/task/result/{task_id}")))
            return bool(found["state"] == "SUCCESS")

        eventually(has_ended, "it has ended")
        pages = [fetched(f"{url}/{page}") for page in ("broker", "workers", "tasks")]
        workers = json.loads(fetched(f"{url}/api/workers?refresh=1"))

    assert {queue["name"] for queue in queues} == {"scaleout", "scaleout.sweep"}
    assert found["result"]["status"] == "succeeded"
    assert all(b"</html>" in page for page in pages)
    assert "scaleout.add_nodes" in workers["one@here"]["registered"]


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_producer_in_node_gets_the_outcome(redis_url: str, env: dict[str, str], tmp_path: Path) -> None:
    folder = shutil.copytree(NODE, tmp_path / "node")
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True)

    with worker(env, tmp_path / "worker.log"):
        done = subprocess.run(
            ["node", "producer.mjs", redis_url, "node-1"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    outcome = json.loads(done.stdout)
    assert (outcome["request_id"], outcome["status"], outcome["nodes_added"]) == ("node-1", "succeeded", 2)
