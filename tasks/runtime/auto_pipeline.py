"""A Redis client that sends what a process asks for at the same time as one pipeline."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.exceptions import ConnectionError  # noqa: A004 - not the built-in one

from tasks.runtime.pipelined_connection import Command, RedisLine

LINES = 2  # pipelines on their way at a time; what is asked for meanwhile goes with the next
MOST_COMMANDS = 64  # of one pipeline: all their answers are there only with the last
BLOCKING = frozenset({"XREAD"})  # others would wait behind them
READ_IN_THEIR_OWN_WAY = {EMPTY_RESPONSE, NEVER_DECODE}
TIMEOUT_S = 5.0
CLOSED = "the Redis client has been closed"


class GatheringRedis(Redis):
    """Dozens of steps at once each want a command sent: alone, it costs a worker a multiple of what it costs
    in a pipeline, and the server, which writes to disk before it answers, a write of its own.

    A command that is cancelled may be carried out all the same, and what a broken connection leaves without
    an answer is carried out again: only what may be done twice is asked for here.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._commands: deque[Command] = deque()
        self._lines: list[RedisLine] = []
        self._free: deque[RedisLine] = deque()
        self._pipelines: set[asyncio.Task[None]] = set()
        self._closed = False

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Raises what redis-py raises for this command; a broken connection, for all that went with it."""
        if self._closed:
            raise ConnectionError(CLOSED)
        if arguments[0] in BLOCKING or not READ_IN_THEIR_OWN_WAY.isdisjoint(options):
            return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        options.pop("keys", None)  # redis-py's note to its own cache
        loop = asyncio.get_running_loop()
        command = Command(arguments, options, loop.create_future())
        self._commands.append(command)
        if len(self._commands) == 1:
            # Whoever else runs in this turn of the loop comes along.
            loop.call_soon(self._send)
        return await command.answer

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Ends its own connections too. Whoever still waits for an answer gets a ConnectionError."""
        self._closed = True
        self._fail_all(ConnectionError(CLOSED))
        for pipeline in self._pipelines:
            pipeline.cancel()
        await asyncio.gather(*self._pipelines, return_exceptions=True)
        await asyncio.gather(*(line.disconnect() for line in self._lines))
        await super().aclose(close_connection_pool)

    def _send(self) -> None:
        while self._commands:
            try:
                line = self._free_line()
            except Exception as error:  # noqa: BLE001 - a URL with options that no connection takes
                self._fail_all(error)
                return
            if line is None:
                return
            number = min(len(self._commands), MOST_COMMANDS)
            commands = [self._commands.popleft() for _ in range(number)]
            pipeline = asyncio.create_task(line.carry_out(commands))
            self._pipelines.add(pipeline)
            pipeline.add_done_callback(partial(self._sent, line, commands))

    def _free_line(self) -> RedisLine | None:
        if self._free:
            return self._free.popleft()
        if len(self._lines) == LINES:
            return None
        connection = self.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._lines.append(RedisLine(connection, self.response_callbacks, TIMEOUT_S))
        return self._lines[-1]

    def _sent(self, line: RedisLine, commands: Sequence[Command], pipeline: asyncio.Task[None]) -> None:
        self._pipelines.discard(pipeline)
        self._free.append(line)
        for command in commands:
            # Without an answer if the pipeline was cancelled: nobody is to wait for ever.
            if self._closed:
                command.fail(ConnectionError(CLOSED))
            else:
                command.answer.cancel()
        self._send()

    def _fail_all(self, error: Exception) -> None:
        while self._commands:
            self._commands.popleft().fail(error)
