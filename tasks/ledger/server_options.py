"""What the server of the ledger has to be, and what this one is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tasks.runtime.redis_servers import async_client

NEEDED = {
    "appendonly": ("yes", "what was accepted is lost when the server dies"),
    "appendfsync": ("always", "the last second is lost when the machine dies"),
    "maxmemory-policy": ("noeviction", "records of running operations may be thrown out"),
}
TIMEOUT_S = 5.0
A_CLUSTER = (
    "the server is a node of a Redis Cluster, which keeps keys that belong together on several servers: use "
    "a single server, with replicas if you like"
)


class ClusterNode(RuntimeError):  # noqa: N818 - named by what was found
    """The server is a node of a Redis Cluster; the text names the remedy."""


@dataclass(frozen=True, slots=True)
class ServerOption:
    """An option of the server. `found` is None where it may not be read; `detail`: value, need and risk."""

    name: str
    found: str | None
    detail: str

    @property
    def right(self) -> bool:
        return self.found == NEEDED[self.name][0]


@asynccontextmanager
async def looking_at(url: str) -> AsyncIterator[Redis]:
    """Open a client for questions that a server may refuse: for the ledger's own, that is an outage."""
    redis = async_client(url, decode_responses=True, socket_timeout=TIMEOUT_S)
    try:
        yield redis
    finally:
        await redis.aclose()


async def read_options(redis: Redis) -> list[ServerOption]:
    """Return the options that decide whether what was accepted survives."""
    found = []
    for name, (needed, risk) in NEEDED.items():
        try:
            value = (await redis.config_get(name)).get(name)
        except ResponseError:
            # Hosted servers refuse CONFIG, and so may an ACL.
            value = None
        if value is None:
            detail = f"cannot be read here; it must be {needed}, or {risk}"
        elif value == needed:
            detail = str(value)
        else:
            detail = f"{value}, should be {needed}: {risk}"
        found.append(ServerOption(name, None if value is None else str(value), detail))
    return found


async def refuse_cluster(redis: Redis) -> None:
    """Raise ClusterNode if the server is one; a server that does not say is not."""
    try:
        info: dict[str, Any] = await redis.info("cluster")
    except ResponseError:
        return
    if int(info.get("cluster_enabled", 0)):
        raise ClusterNode(A_CLUSTER)
