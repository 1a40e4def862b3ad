"""Real processes for tests: workers as `celery -A workers worker` starts them, and the simulator."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0

ACCESS_KEY_ID = "QYACCESSKEYIDEXAMPLE"
SECRET_ACCESS_KEY = "SECRETACCESSKEY"


def environment(redis_url: str, api_url: str, **settings: object) -> dict[str, str]:
    """A worker's environment: quick, and with nothing of the caller's own settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCALEOUT_")}
    quick: dict[str, object] = {
        "REDIS_URL": redis_url,
        "API_URL": api_url,
        "ACCESS_KEY_ID": ACCESS_KEY_ID,
        "SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "TICK_S": 0.1,
        "POLL_INTERVAL_S": 0.2,
        "COALESCE_WINDOW_S": 0.2,
        "LOG_LAG_S": 1,
        "RETRY_BACKOFF_S": 0.5,
        "QUOTA_CALLS": 100_000,
        "LOG_LEVEL": "DEBUG",
    }
    quick.update(settings)
    return {**inherited, **{f"SCALEOUT_{name}": str(value) for name, value in quick.items()}}


@dataclass
class Process:
    """A started process and what it has written."""

    popen: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines with this event name."""
        lines = (line for line in self.text().splitlines() if line.startswith("{"))
        return [line for line in map(json.loads, lines) if line["event"] == name]

    def alive(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """As the machine's death would: no handler runs."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(10)

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.popen.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


def eventually(holds: Callable[[], bool], what: str, within_s: float = START_S) -> None:
    """Wait for something that other processes do; fails with `what` was waited for."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s:g} s")
        time.sleep(0.05)


@contextmanager
def process(arguments: list[str], env: Mapping[str, str], log: Path) -> Iterator[Process]:
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=dict(env), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield Process(popen, log)
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGCONT)
            popen.terminate()
            try:
                popen.wait(20)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait(10)


@contextmanager
def worker(env: Mapping[str, str], log: Path, *arguments: str) -> Iterator[Process]:
    """A worker that is ready to work."""
    with process(["-m", "celery", "-A", "workers", "worker", *arguments], env, log) as started:
        eventually(lambda: " ready." in started.text() or not started.alive(), f"a worker starts, see {log}")
        assert started.alive(), started.text()[-3000:]
        yield started


@dataclass
class Simulator:
    """The simulator in a process of its own."""

    process: Process
    url: str

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/_sim/{path}", timeout=10) as reply:
            return json.load(reply)

    def post(self, path: str, content: object) -> Any:
        request = urllib.request.Request(
            f"{self.url}/_sim/{path}", json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def nodes(self, cluster_id: str | None = None) -> int:
        """How many nodes there are in truth."""
        clusters = self.get("truth")["clusters"]
        return sum(len(cluster["nodes"]) for name, cluster in clusters.items() if cluster_id in (None, name))


@contextmanager
def simulator(log: Path, *arguments: str) -> Iterator[Simulator]:
    quick = ["--job-duration-s", "1", "--log-lag-s", "0.1", "--quota-calls", "100000"]
    with process(["-m", "workers.simulator", "--port", "0", *quick, *arguments], os.environ, log) as started:
        eventually(lambda: "\n" in started.text() or not started.alive(), "the simulator starts")
        assert started.alive(), started.text()[-3000:]
        yield Simulator(started, json.loads(started.text().splitlines()[0])["url"])
