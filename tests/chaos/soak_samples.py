"""What long-lived processes, Redis and logs use, sampled while a soak runs."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.support.durable_server import DurableServer

OURS = "scaleout:"
Pid = Callable[[], int | None]


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process uses; `rss`: bytes in memory."""

    rss: int
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at everything.

    Fields:
        at_s: since the first sample.
        processes: by name and process id.
        memory: what Redis uses, in bytes; None if it was away.
        keys: how many there are of each family.
        ended: requests that have ended.
        logs: bytes written so far, by process.
    """

    at_s: float
    processes: Mapping[tuple[str, int], Usage]
    memory: int | None
    keys: Mapping[str, int]
    ended: int
    logs: Mapping[str, int]


@dataclass
class Sampler:
    """Samples every `every_s` seconds. `pids`: the process of each name now; `directory`: of the logs."""

    pids: Mapping[str, Pid]
    server: DurableServer
    directory: Path
    every_s: float
    samples: list[Sample] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        over = threading.Event()

        def sample() -> None:
            began = time.monotonic()
            while not over.wait(max(0.0, began + len(self.samples) * self.every_s - time.monotonic())):
                self.samples.append(self._sample(time.monotonic() - began))

        thread = threading.Thread(target=sample, name="sampler", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(30)

    def _sample(self, at_s: float) -> Sample:
        found = {
            (name, pid): usage
            for name, current in self.pids.items()
            if (pid := current()) is not None and (usage := usage_of(pid)) is not None
        }
        logs = {path.stem: path.stat().st_size for path in self.directory.glob("*.log")}
        try:
            with self.server.client() as client:
                memory = int(client.info("memory")["used_memory"])
                keys = Counter(map(family, client.scan_iter(count=5_000)))
                ended = int(client.zcard(f"{OURS}ended"))
        except redis.RedisError:
            return Sample(at_s, found, None, {}, 0, logs)
        return Sample(at_s, found, memory, keys, ended, logs)


def usage_of(pid: int) -> Usage | None:
    """Return what a process uses by /proc, or None if it has ended."""
    process = Path(f"/proc/{pid}")
    try:
        lines = (process / "status").read_text(encoding="ascii", errors="replace").splitlines()
        status = dict(line.split(":", 1) for line in lines)
        if "VmRSS" not in status:
            return None
        descriptors = sum(1 for _ in (process / "fd").iterdir())
    except OSError:
        return None
    return Usage(int(status["VmRSS"].split()[0]) * 1024, descriptors, int(status["Threads"]))


def family(key: str) -> str:
    """Return a key's family: the word after our prefix, or what comes before the first colon or id."""
    if key.startswith(OURS):
        return key.removeprefix(OURS).partition(":")[0]
    first = key.partition(":")[0]
    return f"{first}:*" if first != key else first.partition("-meta-")[0]
