"""Lua files as typed calls."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoScriptError

from tasks.runtime.auto_pipeline import AutoPipelineRedis
from tasks.runtime.redis_servers import connection_pool

CONNECTIONS = 32
POOL_WAIT_S = 30.0
SOCKET_TIMEOUT_S = 5.0
RETRIES = 3


def open_redis(url: str) -> Redis:
    """An async client for the ledger.

    It sends a command again after a connection error, which is why every script of ours gives the same
    answer to the same call twice.
    """
    pool = connection_pool(
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
    return AutoPipelineRedis.from_pool(pool)


class Script:
    """One Lua file, sent by its hash and loaded when the server does not know it."""

    def __init__(self, redis: Redis, path: Path) -> None:
        self.name = path.stem
        self._redis: Any = redis
        self._text = path.read_text(encoding="utf-8")
        self._hash = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        # redis-py's own way to call a script costs half as much again.
        command = ("EVALSHA", self._hash, len(keys), *keys, *args)
        try:
            return await self._redis.execute_command(*command)
        except NoScriptError:
            await self._redis.script_load(self._text)
            return await self._redis.execute_command(*command)
