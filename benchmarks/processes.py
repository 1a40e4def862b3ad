"""Processes under measurement, and what the kernel says that they have used."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from workers.simulator.client import Child, ChildFailed, child

ROOT = Path(__file__).resolve().parents[1]
STOP_S = 20.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

BenchmarkFailed = ChildFailed


@dataclass(frozen=True, slots=True)
class Measured(Child):
    """A process under measurement."""

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


def start(
    name: str, arguments: Sequence[str], env: Mapping[str, str], folder: Path, *, python: str = sys.executable
) -> AbstractContextManager[Measured]:
    """Run `python` with `arguments`, and end it at the end."""
    log = folder / f"{name}.log"
    return child(
        Measured, name, arguments, env, log, python=python, cwd=ROOT, stdin=subprocess.PIPE, stop_s=STOP_S
    )


def _family(pid: int) -> list[int]:
    """The process and its living descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for name in task.read_text(encoding="ascii").split():
            found += _family(int(name))
    return found


def _cpu_s(pid: int) -> float:
    # proc(5): utime, stime, cutime and cstime are fields 14 to 17; the name before them may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_S


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
