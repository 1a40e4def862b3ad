"""Processes under measurement, and what the kernel says that they have used."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_S = 60.0
STOP_S = 20.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchmarkFailed(Exception):  # noqa: N818 - says what happened
    """One line for the person who started the benchmark."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A started process and the file with what it writes."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """Raises BenchmarkFailed if it has ended."""
        if self.popen.poll() is not None:
            last = "\n".join(self.text().splitlines()[-15:])
            raise BenchmarkFailed(f"the {self.name} ended with {self.popen.returncode}:\n{last}")

    def until_said(self, words: str) -> None:
        """Wait until it has written `words`."""
        deadline = time.monotonic() + START_S
        while words not in self.text():
            self.check()
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"the {self.name} did not say {words!r} within {START_S:g} s")
            time.sleep(0.05)

    def write(self, line: str) -> None:
        if self.popen.stdin is None:
            raise BenchmarkFailed(f"the {self.name} was started without stdin")
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    def cpu_s(self) -> float:
        """Of the process and all its children, those that have ended too."""
        return sum(_cpu_s(pid) for pid in _family(self.popen.pid))

    def peak_mb(self) -> float:
        """The most that it has had resident at any time, children added."""
        return sum(_peak_mb(pid) for pid in _family(self.popen.pid))


@contextmanager
def start(
    name: str, arguments: Sequence[str], env: Mapping[str, str], folder: Path, *, python: str = sys.executable
) -> Iterator[Measured]:
    """Run `python` with `arguments`, in a session of its own, and end it at the end."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [python, *arguments],
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Measured(name, popen, log)
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
    # Whatever it has started and left behind is in its session.
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    if popen.stdin is not None:
        popen.stdin.close()


def _family(pid: int) -> list[int]:
    """The process and its living descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text(encoding="ascii").split():
            found += _family(int(child))
    return found


def _cpu_s(pid: int) -> float:
    # proc(5): utime, stime, cutime and cstime are fields 14 to 17; the name before them may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_S


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
