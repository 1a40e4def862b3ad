"""Lua files as typed calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.commands.core import AsyncScript

CONNECTIONS = 32
POOL_WAIT_S = 30.0
SOCKET_TIMEOUT_S = 5.0
RETRIES = 3


def open_redis(url: str) -> Redis:
    """An async client for the ledger.

    It sends a command again after a connection error, which is why every script of ours gives the same
    answer to the same call twice.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        # A call waits for a connection rather than fail for want of one.
        timeout=POOL_WAIT_S,
        decode_responses=True,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=5,
        max_connections=CONNECTIONS,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), RETRIES),
    )
    return Redis.from_pool(pool)


class Script:
    """One Lua file, sent by its hash and loaded when the server does not know it."""

    def __init__(self, redis: Redis, path: Path) -> None:
        self.name = path.stem
        self._script: AsyncScript = redis.register_script(path.read_text(encoding="utf-8"))

    async def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return await self._script(keys=list(keys), args=list(args))
