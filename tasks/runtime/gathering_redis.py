"""A Redis client that sends what a process asks for at the same time as one pipeline."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 - not the built-in ones

PIPELINES = 2  # on their way at a time; what is asked for meanwhile goes with the next
MOST_COMMANDS = 64  # of one pipeline: all their answers are there only with the last
BLOCKING = frozenset({"XREAD"})  # others would wait behind them


@dataclass(slots=True, eq=False)
class _Command:
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    answer: asyncio.Future[Any]


class GatheringRedis(Redis):
    """Dozens of steps at once each want a command sent: alone, it costs a worker a multiple of what it costs
    in a pipeline, and the server, which writes to disk before it answers, a write of its own.

    A command that is cancelled may be carried out all the same. A pipeline whose connection breaks is sent
    again as a whole.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._commands: deque[_Command] = deque()
        self._pipelines: set[asyncio.Task[None]] = set()

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Raises what redis-py raises for this command; a broken connection, for all that went with it."""
        if arguments[0] in BLOCKING:
            return await self._alone(*arguments, **options)
        loop = asyncio.get_running_loop()
        command = _Command(arguments, options, loop.create_future())
        self._commands.append(command)
        if len(self._commands) == 1:
            # Whoever else runs in this turn of the loop comes along.
            loop.call_soon(self._send)
        return await command.answer

    def _send(self) -> None:
        while self._commands and len(self._pipelines) < PIPELINES:
            number = min(len(self._commands), MOST_COMMANDS)
            commands = [self._commands.popleft() for _ in range(number)]
            pipeline = asyncio.create_task(self._carry_out(commands))
            self._pipelines.add(pipeline)
            pipeline.add_done_callback(self._sent)

    def _sent(self, pipeline: asyncio.Task[None]) -> None:
        self._pipelines.discard(pipeline)
        self._send()

    async def _carry_out(self, commands: list[_Command]) -> None:
        wanted = [command for command in commands if not command.answer.done()]
        try:
            answers = await self._answers(wanted)
        except asyncio.CancelledError:
            for command in wanted:
                command.answer.cancel()
            raise
        for command, answer in zip(wanted, answers, strict=True):
            if command.answer.done():
                continue
            if isinstance(answer, Exception):
                command.answer.set_exception(answer)
            else:
                command.answer.set_result(answer)

    async def _alone(self, *arguments: Any, **options: Any) -> Any:
        return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]

    async def _answers(self, commands: list[_Command]) -> list[Any]:
        """Of each command, or the error that it ended with."""
        if len(commands) > 1:
            try:
                async with self.pipeline(transaction=False) as pipe:
                    for command in commands:
                        pipe.execute_command(*command.arguments, **command.options)
                    return list(await pipe.execute(raise_on_error=False))
            except (ConnectionError, TimeoutError, OSError) as error:
                return [error] * len(commands)
            except Exception:  # noqa: BLE001, S110 - a command that cannot be written, an answer not to be read
                # Whose it was is not known: each goes by itself, and the others have theirs carried out.
                pass
        return [await self._answer(command) for command in commands]

    async def _answer(self, command: _Command) -> Any:
        try:
            return await self._alone(*command.arguments, **command.options)
        except Exception as error:  # noqa: BLE001 - told to who asked for it
            return error
