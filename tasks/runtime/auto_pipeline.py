"""A Redis client that sends concurrent commands of a process as one pipeline."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import hiredis
import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.exceptions import ConnectionError  # noqa: A004 - not the built-in one
from redis.exceptions import TimeoutError as RedisTimeoutError

from tasks.runtime.process_metrics import COMMANDS, ROUND_TRIPS
from tasks.runtime.redis_refusals import RefusalLog
from tasks.runtime.redis_servers import MasterPool

log = structlog.get_logger(__name__)

CONNECTIONS = 2  # pipelines on their way at a time; later commands go with the next
MAX_COMMANDS = 64  # of one pipeline: all their replies are there only with the last
BLOCKING = frozenset({"XREAD"})  # others would wait behind them
SPECIAL_REPLIES = {EMPTY_RESPONSE, NEVER_DECODE}
TIMEOUT_S = 5.0
CLOSED = "the Redis client has been closed"


@dataclass(slots=True, eq=False)
class Command:
    """A command as redis-py's clients get it, and the future of its reply."""

    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    reply: asyncio.Future[Any]

    def succeed(self, reply: Any) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class AutoPipelineRedis(Redis):
    """Sends the commands of dozens of concurrent steps in pipelines.

    Sent alone, a command costs a worker a multiple, and the server, which writes to disk before it replies, a
    write of its own. A command that is cancelled may be executed all the same, and one that a broken
    connection leaves without a reply is sent again: use it only for what may be done twice.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._commands: deque[Command] = deque()
        self._connections: list[PipelinedConnection] = []
        self._free: deque[PipelinedConnection] = deque()
        self._pipelines: set[asyncio.Task[None]] = set()
        self._closed = False
        self._refusals = RefusalLog(_address(self.connection_pool.connection_kwargs))

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Raise what redis-py raises; a broken connection fails all commands of the pipeline."""
        if self._closed:
            raise ConnectionError(CLOSED)
        if arguments[0] in BLOCKING or not SPECIAL_REPLIES.isdisjoint(options):
            return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        options.pop("keys", None)  # redis-py's note to its own cache
        loop = asyncio.get_running_loop()
        command = Command(arguments, options, loop.create_future())
        self._commands.append(command)
        if len(self._commands) == 1:
            # Commands of other coroutines in this turn of the loop go along.
            loop.call_soon(self._send)
        return await command.reply

    async def is_on_master(self) -> bool:
        """Return whether the sentinels name the server that is used, and leave it if they name another.

        An old master goes on accepting what is lost with it, until a sentinel tells it. Without sentinels the
        server is the master.
        """
        pool = self.connection_pool
        if not isinstance(pool, MasterPool):
            return True
        named = await pool.agreed_master()
        used = {connection.server for connection in self._connections} - {None}
        if named is not None and used - {named}:
            log.warning("master_changed", named=f"{named[0]}:{named[1]}")
            await self._leave_server()
        return used == {named}

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close our own connections too. Commands without a reply fail with a ConnectionError."""
        self._closed = True
        self._fail_all(ConnectionError(CLOSED))
        for pipeline in self._pipelines:
            pipeline.cancel()
        await asyncio.gather(*self._pipelines, return_exceptions=True)
        await asyncio.gather(*(connection.disconnect() for connection in self._connections))
        await super().aclose(close_connection_pool)

    def _send(self) -> None:
        while self._commands:
            try:
                connection = self._free_connection()
            except Exception as error:  # noqa: BLE001 - a URL with options that no connection accepts
                self._fail_all(error)
                return
            if connection is None:
                return
            number = min(len(self._commands), MAX_COMMANDS)
            commands = [self._commands.popleft() for _ in range(number)]
            pipeline = asyncio.create_task(connection.execute(commands))
            self._pipelines.add(pipeline)
            pipeline.add_done_callback(partial(self._sent, connection, commands))

    def _free_connection(self) -> PipelinedConnection | None:
        if self._free:
            return self._free.popleft()
        if len(self._connections) == CONNECTIONS:
            return None
        connection = self.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._connections.append(
            PipelinedConnection(
                connection,
                self.connection_pool,
                self.response_callbacks,
                TIMEOUT_S,
                self._refusals,
                self._leave_server,
            )
        )
        return self._connections[-1]

    async def _leave_server(self) -> None:
        """Have every connection made anew: on each, the server would go on answering as a replica.

        One that is in use is closed by its user, who would meet an error of the program otherwise.
        """
        pool = self.connection_pool
        await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
        await pool.disconnect(inuse_connections=False)
        for connection in self._connections:
            connection.leave()

    def _sent(
        self, connection: PipelinedConnection, commands: Sequence[Command], pipeline: asyncio.Task[None]
    ) -> None:
        self._pipelines.discard(pipeline)
        self._free.append(connection)
        for command in commands:
            # Without a reply if the pipeline was cancelled: no caller may wait for ever.
            if self._closed:
                command.fail(ConnectionError(CLOSED))
            else:
                command.reply.cancel()
        self._send()

    def _fail_all(self, error: Exception) -> None:
        while self._commands:
            self._commands.popleft().fail(error)


class PipelinedConnection:
    """One connection that executes commands together, in one round trip.

    redis-py's own pipeline has a timer for each reply and takes a connection out of its pool each time, which
    costs a worker as much again.

    Args:
        pool: where the connection is from.
        callbacks: by command, what turns a raw reply into the final one.
        timeout_s: for all replies of a pipeline.
        refusals: what the client keeps of refusals of the server.
        leave_server: has all connections made anew, because another server has to be reached.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        pool: ConnectionPool,
        callbacks: Mapping[Any, Callable[..., Any]],
        timeout_s: float,
        refusals: RefusalLog,
        leave_server: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._pool = pool
        self._callbacks = callbacks
        self._timeout_s = timeout_s
        self._refusals = refusals
        self._leave_server = leave_server

    @property
    def server(self) -> tuple[str, int] | None:
        """Host and port of the server that it is connected to."""
        connection: Any = self._connection
        return (connection.host, connection.port) if connection.is_connected else None

    async def execute(self, commands: Sequence[Command]) -> None:
        """Execute all commands, one pipeline at a time.

        A command that a broken connection leaves without a reply is sent again, as often as redis-py is set
        to, and fails with the connection's error in the end. Any other error is that of its own command.
        """
        left = deque(command for command in commands if not command.reply.done())
        if not left:
            return
        try:
            if self._connection.should_reconnect() or self._is_elsewhere():  # type: ignore[no-untyped-call]
                await self.disconnect()
            if not self._connection.is_connected:
                await self._connection.connect()  # type: ignore[no-untyped-call]
            while left:
                exchange = partial(self._exchange, left)
                await self._connection.retry.call_with_retry(exchange, self._broken)
        except Exception as error:  # noqa: BLE001 - all callers get it
            for command in left:
                command.fail(error)
        except BaseException:
            # Cancelled: a reply that is on its way must not be taken for that of a later command.
            await self._connection.disconnect(nowait=True)
            raise

    def _is_elsewhere(self) -> bool:
        """Return whether another connection has reached another master since: this one may show the past."""
        pool = self._pool
        return isinstance(pool, MasterPool) and self.server not in (None, pool.master_address)

    def leave(self) -> None:
        """Connect again before the next commands."""
        self._connection.mark_for_reconnect()  # type: ignore[no-untyped-call]

    async def disconnect(self) -> None:
        await self._connection.disconnect()

    async def _broken(self, _: Exception) -> None:
        await self._connection.disconnect(nowait=True)

    async def _exchange(self, left: deque[Command]) -> None:
        """Send the remaining commands, and remove each when its reply arrives."""
        packed = self._packed(left)
        if not left:
            return
        connection: Any = self._connection
        if isinstance(self._pool, MasterPool) and not connection.is_connected:
            # Sending connects again, and would do so to the same server.
            connection.host, connection.port = await self._pool.get_master_address()
        ROUND_TRIPS.inc()
        COMMANDS.inc(len(left))
        await self._connection.send_packed_command(packed)
        try:
            async with asyncio.timeout(self._timeout_s):
                while left and self._connection.is_connected:
                    await self._read(left)
            if self._refusals.take_other_server():
                await self._leave_server()
        except TimeoutError:
            raise RedisTimeoutError(f"no reply from Redis within {self._timeout_s:g} s") from None

    def _packed(self, left: deque[Command]) -> list[bytes]:
        """Encode the commands; those that cannot be encoded fail and are removed."""
        packed: list[bytes] = []
        for command in list(left):
            try:
                packed += self._pack(command.arguments)
            except Exception as error:  # noqa: BLE001 - whatever redis-py's encoder raises
                command.fail(error)
                left.remove(command)
        return packed

    def _pack(self, arguments: tuple[Any, ...]) -> list[bytes]:
        # hiredis takes a seventh of the time, and knows neither names of two words nor every type.
        if " " not in arguments[0]:
            with suppress(TypeError):
                return [hiredis.pack_command(arguments)]
        return self._connection.pack_command(*arguments)

    async def _read(self, left: deque[Command]) -> None:
        command = left[0]
        try:
            reply = await self._connection.read_response(timeout=math.inf)
            callback = self._callbacks.get(command.arguments[0])
            command.succeed(reply if callback is None else callback(reply, **command.options))
        except (ConnectionError, RedisTimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - an error for a reply, or a reply that cannot be read
            # The latter costs the connection: commands without a reply are sent again over a new one.
            command.fail(self._refusals.noted(command.arguments, error))
        else:
            self._refusals.succeeded(command.arguments)
        left.popleft()


def _address(options: Mapping[str, Any]) -> str:
    """Return which server, database and user a connection is for."""
    return " ".join(str(options.get(name)) for name in ("host", "port", "path", "db", "username"))
