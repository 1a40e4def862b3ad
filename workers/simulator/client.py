"""Start child processes, and use the simulator's control API: for the demo, tests and benchmarks."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

START_S = 60.0
PAGE_TIMEOUT_S = 60.0


class ChildFailed(Exception):  # noqa: N818 - named by what happened
    """A child process has ended, or did not start in time; the text has its last lines."""


@dataclass(frozen=True, slots=True)
class Child:
    """A started process and the file with its output."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def last_lines(self) -> str:
        return "\n".join(self.text().splitlines()[-15:])

    def alive(self) -> bool:
        return self.popen.poll() is None

    def check(self) -> None:
        """Raise ChildFailed if it has ended."""
        if not self.alive():
            raise ChildFailed(f"the {self.name} ended with {self.popen.returncode}:\n{self.last_lines()}")

    def until_written(self, text: str, within_s: float = START_S) -> Self:
        """Wait until it has written `text`. Raises ChildFailed if it ends, or after `within_s`."""
        deadline = time.monotonic() + within_s
        while text not in self.text():
            self.check()
            if time.monotonic() > deadline:
                raise ChildFailed(f"the {self.name} has not written {text!r} within {within_s:g} s")
            time.sleep(0.05)
        return self


C = TypeVar("C", bound=Child)


@contextmanager
def child(
    kind: type[C],
    name: str,
    arguments: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    *,
    python: str = sys.executable,
    cwd: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    stop_s: float = 20.0,
) -> Iterator[C]:
    """Run `python` with `arguments`, and end it at the end, with whatever it has started.

    It has a session of its own, so that Ctrl-C reaches the caller alone.

    Args:
        stop_s: how long it may take to end after SIGTERM.
    """
    with log.open("wb") as output:
        popen = subprocess.Popen(  # noqa: S603 - an interpreter of ours
            [python, *arguments],
            cwd=cwd,
            env=dict(env),
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield kind(name, popen, log)
    finally:
        _stop(popen, stop_s)


def _stop(popen: subprocess.Popen[bytes], stop_s: float) -> None:
    if popen.poll() is None:
        # A process that is stopped would not see SIGTERM.
        popen.send_signal(signal.SIGCONT)
        popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            popen.wait(stop_s)
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait(10)
    if popen.stdin is not None:
        popen.stdin.close()


@dataclass(frozen=True, slots=True)
class SimulatorClient:
    """A running simulator and its control API."""

    process: Child
    url: str

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    def get(self, page: str) -> Any:
        return self._call(page, None)

    def post(self, page: str, content: object) -> Any:
        return self._call(page, json.dumps(content).encode())

    def nodes(self, cluster_id: str | None = None) -> int:
        """Return how many nodes there are in truth."""
        clusters = self.get("truth")["clusters"]
        return sum(len(cluster["nodes"]) for name, cluster in clusters.items() if cluster_id in (None, name))

    def _call(self, page: str, body: bytes | None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/_sim/{page}", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PAGE_TIMEOUT_S) as reply:  # noqa: S310
            text = reply.read()
        return json.loads(text) if text else None


S = TypeVar("S", bound=SimulatorClient)


@contextmanager
def simulator(
    kind: type[S], log: Path, *, process: type[Child] = Child, cwd: Path | None = None, **options: Any
) -> Iterator[S]:
    """Run the simulator on a free port.

    Args:
        options: as in `options.py`.
    """
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    arguments = ["-m", "workers.simulator", *flags]
    with child(process, "simulator", arguments, os.environ, log, cwd=cwd) as started:
        started.until_written("\n")
        yield kind(started, json.loads(started.text().splitlines()[0])["url"])
