"""One connection to Redis that carries out commands together, in one round trip."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError  # noqa: A004 - not the built-in one
from redis.exceptions import TimeoutError as RedisTimeoutError


@dataclass(slots=True, eq=False)
class Command:
    """As redis-py's clients are asked for it, and the answer that somebody waits for."""

    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    answer: asyncio.Future[Any]

    def succeed(self, answer: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class RedisLine:
    """`callbacks`: what makes of a raw answer the one that is wanted, by command; `timeout_s`: for all.

    redis-py's own pipeline has a timer for each answer and takes a connection out of its pool each time,
    which costs a worker as much again.
    """

    def __init__(
        self, connection: AbstractConnection, callbacks: Mapping[Any, Callable[..., Any]], timeout_s: float
    ) -> None:
        self._connection = connection
        self._callbacks = callbacks
        self._timeout_s = timeout_s

    async def carry_out(self, commands: Sequence[Command]) -> None:
        """Answer all commands, one batch at a time.

        What a broken connection has left without an answer is sent again, as often as redis-py is set to, and
        gets the connection's error in the end. Every other error goes to the command that it comes from.
        """
        left = deque(command for command in commands if not command.answer.done())
        if not left:
            return
        try:
            if not self._connection.is_connected:
                await self._connection.connect()  # type: ignore[no-untyped-call]
            while left:
                exchange = partial(self._exchange, left)
                await self._connection.retry.call_with_retry(exchange, self._broken)
        except Exception as error:  # noqa: BLE001 - told to all who asked
            for command in left:
                command.fail(error)
        except BaseException:
            # Cancelled: an answer that is on its way must not be taken for that of a later command.
            await self._connection.disconnect(nowait=True)
            raise

    async def disconnect(self) -> None:
        await self._connection.disconnect()

    async def _broken(self, _: Exception) -> None:
        await self._connection.disconnect(nowait=True)

    async def _exchange(self, left: deque[Command]) -> None:
        """Send all that are left, and take them off one by one as their answers come."""
        packed = self._packed(left)
        if not left:
            return
        await self._connection.send_packed_command(packed)
        try:
            async with asyncio.timeout(self._timeout_s):
                while left and self._connection.is_connected:
                    await self._read(left)
        except TimeoutError:
            raise RedisTimeoutError(f"no answer from Redis within {self._timeout_s:g} s") from None

    def _packed(self, left: deque[Command]) -> list[bytes]:
        """On the wire, but for those that cannot be written, which are taken off."""
        packed: list[bytes] = []
        for command in list(left):
            try:
                packed += self._connection.pack_command(*command.arguments)
            except Exception as error:  # noqa: BLE001 - whatever redis-py's encoder says of the arguments
                command.fail(error)
                left.remove(command)
        return packed

    async def _read(self, left: deque[Command]) -> None:
        command = left[0]
        try:
            answer = await self._connection.read_response(timeout=math.inf)
            form = self._callbacks.get(command.arguments[0])
            command.succeed(answer if form is None else form(answer, **command.options))
        except (ConnectionError, RedisTimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - an error for an answer, or one that cannot be read
            # The latter costs the connection: what has no answer yet is sent again over a new one.
            command.fail(error)
        left.popleft()
