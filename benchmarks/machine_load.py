"""How much of the machine others used meanwhile: with much of it, a run's times by the clock mean little."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.processes import TICKS_PER_S, Measured


class LoadMeter:
    """From its making on. `processes` and `server_cpu_s` are those that belong to the benchmark, and so
    does the process that it runs in."""

    def __init__(self, processes: Sequence[Measured], server_cpu_s: Callable[[], float]) -> None:
        self._processes = processes
        self._server_cpu_s = server_cpu_s
        self._began = time.monotonic()
        self._busy_s, self._own_s = _busy_s(), self._own()

    def others_percent(self) -> float:
        """Of all cores together, by processes that do not belong to the benchmark."""
        elapsed = time.monotonic() - self._began
        others_s = (_busy_s() - self._busy_s) - (self._own() - self._own_s)
        return max(0.0, 100 * others_s / (elapsed * (os.cpu_count() or 1)))

    def _own(self) -> float:
        cpu = sum(process.cpu_s() for process in self._processes)
        return cpu + self._server_cpu_s() + time.process_time()


def _busy_s() -> float:
    # proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, …
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    ticks = [int(field) for field in fields]
    return (sum(ticks[:3]) + sum(ticks[5:8])) / TICKS_PER_S
