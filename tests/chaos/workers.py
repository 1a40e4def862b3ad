"""Worker processes, each started again when it has died, as a supervisor would."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT

STOP_S = 20.0


class Worker:
    """One place in the fleet; the process in it changes."""

    def __init__(self, name: str, env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._env = dict(env)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self.exit_codes: list[int] = []

    @property
    def pid(self) -> int | None:
        """The process in it now, if there is one."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def start(self) -> None:
        """Start a process if there is none."""
        with self._lock:
            if self._process is not None:
                return
            arguments = ["-m", "celery", "-A", "tests.chaos.impatient_app", "worker"]
            arguments += ["--hostname", f"{self.name}@chaos"]
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, *arguments],
                    cwd=ROOT,
                    env=self._env,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )

    def kill(self) -> bool:
        """As the machine's death would: no handler runs. False if no process was alive."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return False
            alive = process.poll() is None
            if alive:
                process.kill()
            else:
                self.exit_codes.append(process.returncode)
            process.wait(10)
            return alive

    def revive(self) -> None:
        """Start again what has ended by itself, which no worker should; it is kept in `exit_codes`."""
        with self._lock:
            process = self._process
            if process is None or process.poll() is None:
                return
            self.exit_codes.append(process.returncode)
            self._process = None
        self.start()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def lines(self) -> list[dict[str, Any]]:
        """What all its processes have logged."""
        found = []
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    # Cut off where the process was killed.
                    continue
        return found

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)


class Fleet:
    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers

    def tend(self) -> None:
        for worker in self.workers:
            worker.revive()

    def logged(self) -> list[dict[str, Any]]:
        return [line for worker in self.workers for line in worker.lines()]

    def fallen(self) -> list[str]:
        return [
            f"{worker.name} ended by itself with {code}"
            for worker in self.workers
            for code in worker.exit_codes
        ]


@contextmanager
def fleet(size: int, env: Mapping[str, str], directory: Path) -> Iterator[Fleet]:
    workers = [Worker(f"w{number}", env, directory / f"w{number}.log") for number in range(size)]
    try:
        for worker in workers:
            worker.start()
        yield Fleet(workers)
    finally:
        for worker in workers:
            worker.stop()
