"""A master and a replica, with failovers from one to the other, planned or by the master's death."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import redis

from tests.support.durable_server import DurableServer
from tests.support.processes import eventually


class ReplicatedServer:
    """Two servers that take turns as the master. A replica may lack the master's last steps."""

    def __init__(self, directory: Path) -> None:
        self.master = DurableServer(directory / "one")
        self.replica = DurableServer(directory / "two")

    def start(self) -> None:
        self.master.start()
        self.replica.start()
        self.follow()

    def follow(self) -> None:
        """Have the replica copy the master; come back once it is in step."""
        with self.replica.client() as client:
            client.replicaof("127.0.0.1", self.master.port)
            eventually(lambda: in_step(client, self.master.port), "the replica follows its master")

    def fail_behind(self, seconds: float) -> None:
        """Stop replication for so long: the master goes on, and the replica lacks its steps."""
        with self.master.client() as client:
            client.client_kill_filter(_type="replica")
            client.config_set("repl-timeout", 60)
        with self.replica.client() as client:
            client.replicaof("127.0.0.1", 1)
        time.sleep(seconds)

    def fail_over(self, how: Literal["planned", "killed"]) -> DurableServer:
        """Promote the replica. Returns the old master, demoted or dead."""
        old, new = self.master, self.replica
        if how == "killed":
            old.kill()
        with new.client() as client:
            client.replicaof("NO", "ONE")
        self.master, self.replica = new, old
        if how == "planned":
            with old.client() as client:
                client.replicaof("127.0.0.1", new.port)
        return old

    def stop(self) -> None:
        self.master.kill()
        self.replica.kill()


def in_step(client: redis.Redis, master_port: int) -> bool:
    """Return whether a replica has copied this master and follows it."""
    info = client.info("replication")
    follows = info.get("master_link_status") == "up" and info.get("master_port") == master_port
    return follows and not info.get("master_sync_in_progress")


@contextmanager
def replicated_server(directory: Path) -> Iterator[ReplicatedServer]:
    server = ReplicatedServer(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
