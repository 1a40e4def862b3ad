"""A server with full persistence, as the README demands, that can be killed and restarted."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.ports import free_port
from tests.support.redis_server import server_path

START_S = 20.0


class DurableServer:
    """Writes every command to disk before it answers. Same port and data over all its lives."""

    def __init__(self, directory: Path, password: str | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The server itself, with no proxy between."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """Its process now; None while it is down."""
        return None if self._process is None else self._process.pid

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, password=self._password, decode_responses=True, **options)

    def role(self) -> str | None:
        """Return what it is in replication; None if it does not answer at once."""
        try:
            with self.client(socket_timeout=0.5, retry=Retry(NoBackoff(), 0)) as client:
                return str(client.info("replication")["role"])
        except redis.RedisError:
            return None

    def start(self) -> None:
        """Come back once it answers, with all its data loaded; at once if it runs already."""
        if self._process is not None and self._process.poll() is None:
            return
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self._directory,
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
        }
        if self._password is not None:
            options |= {"requirepass": self._password, "masterauth": self._password}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [server_path(), *arguments, "--save", ""], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_text = (self._directory / "server.log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"the server on port {self.port} does not start:\n{log_text[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """As a power cut would: what it has answered is on disk, and nothing else is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        """Stop it where it is: to all others it looks as if the network to it were gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, with what has arrived meanwhile, as what it was before."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def durable_server(directory: Path) -> Iterator[DurableServer]:
    server = DurableServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.kill()
