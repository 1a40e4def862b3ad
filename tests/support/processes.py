"""Real processes for tests: workers as `celery -A workers worker` starts them, and the simulator."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.simulator.client import Child, SimulatorClient, child
from workers.simulator.client import simulator as start_simulator

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0

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


@dataclass(frozen=True, slots=True)
class Process(Child):
    """A worker, or another process that writes log lines."""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's lines with this event name."""
        lines = (line for line in self.text().splitlines() if line.startswith("{"))
        return [line for line in map(json.loads, lines) if line.get("event") == name]

    def kill(self) -> None:
        """End it as the machine's death would: no handler runs."""
        self.popen.kill()
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


def process(arguments: list[str], env: Mapping[str, str], log: Path) -> AbstractContextManager[Process]:
    """Run this interpreter with `arguments`."""
    return child(Process, log.stem, arguments, env, log, cwd=ROOT)


@contextmanager
def worker(env: Mapping[str, str], log: Path, *arguments: str) -> Iterator[Process]:
    """Run a worker; it is ready."""
    with process(["-m", "celery", "-A", "workers", "worker", *arguments], env, log) as started:
        yield started.until_written(" ready.")


class Simulator(SimulatorClient):
    """The simulator in a process of its own."""


def simulator(log: Path, **options: Any) -> AbstractContextManager[Simulator]:
    """Run the simulator: quick, and with a large quota."""
    quick: dict[str, Any] = {"job_duration_s": 1, "log_lag_s": 0.1, "quota_calls": 100_000}
    return start_simulator(Simulator, log, cwd=ROOT, **{**quick, **options})
