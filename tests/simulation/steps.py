"""Workers whose every step of input or output waits for its turn, and can be their last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import redis
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.driver_info import DriverInfo

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

DRIVER = DriverInfo()  # made anew for each client, it would read redis-py's version from files
WRITES = frozenset({"script", "DEL", "ZADD", "ZREM", "HSET", "SET"})


class Crashed(BaseException):
    """SIGKILL: no handler runs. Not an Exception, so that no code of ours catches it."""


@dataclass(eq=False)
class Parked:
    """A coroutine that waits for its turn to do `label`."""

    process: Process
    label: str
    future: asyncio.Future[None]


class Process:
    """One process of the simulated world: dead or alive, running or stopped until a time."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.stopped_until = 0
        self.next_tick = 0
        self.waiting: set[asyncio.Future[Any]] = set()

    @property
    def runs(self) -> bool:
        return self.alive and self.stopped_until <= self.world.clock.now_ms()

    def crash(self) -> None:
        self.alive = False
        self.world.say(f"{self.name} is killed")
        for future in self.waiting:
            if not future.done():
                future.set_exception(Crashed())
        self.waiting.clear()

    def point(self, label: str) -> None:
        """A place where the process may die: just after it has changed something outside of itself.

        To die before a step, or after one that only reads, is to die after the last one that wrote.
        """
        if not self.alive:
            raise Crashed
        if self.world.dies_here(label):
            self.crash()
            raise Crashed

    async def turn(self, label: str) -> None:
        """Wait until the world lets this process go on with `label`."""
        if not self.alive:
            raise Crashed
        future = self.world.loop.create_future()
        self.world.parked.append(Parked(self, label, future))
        await self.wait(future)

    async def wait(self, future: asyncio.Future[T]) -> T:
        self.waiting.add(future)
        try:
            return await future
        finally:
            self.waiting.discard(future)

    async def io(self, label: str, effect: Callable[[], T], *, again: bool = False) -> T:
        """A command to Redis. `again`: the client library may send it a second time, as it does scripts."""
        await self.turn(label)
        world = self.world
        if world.server_away_until > world.clock.now_ms():
            raise redis.ConnectionError("the server is away")
        if world.chance("redis fails"):
            raise redis.ConnectionError("the connection broke before the command was sent")
        result = effect()
        if label not in WRITES:
            return result
        world.dirty = True
        if again and world.chance("sends twice"):
            result = effect()
        if world.chance("redis fails"):
            raise redis.ConnectionError("the connection broke before the answer was read")
        self.point(f"after {label}")
        return result


class Direct:
    """One blocking connection to the real server: a search sends millions of commands."""

    def __init__(self, server: redis.Redis) -> None:
        self._callbacks: Any = server.response_callbacks
        pool: Any = server.connection_pool
        self._connection = pool.connection_class(**pool.connection_kwargs)

    def run(self, *args: Any, **options: Any) -> Any:
        """Return the reply to one command."""
        self._connection.send_command(*args)
        return self._reply(args, options)

    def run_all(self, commands: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
        """Return the replies to commands that are sent together."""
        self._connection.send_packed_command(self._connection.pack_commands(args for args, _ in commands))
        replies, errors = [], []
        for args, options in commands:
            try:
                replies.append(self._reply(args, options))
            except redis.ResponseError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return replies

    def close(self) -> None:
        self._connection.disconnect()

    def _reply(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        reply = self._connection.read_response()
        callback = self._callbacks.get(args[0])
        options.pop("keys", None)
        return reply if callback is None else callback(reply, **options)


class SteppedRedis(Redis):
    """An async client whose commands go, one at a time, through a blocking connection to the real server."""

    def __init__(self, process: Process, direct: Direct) -> None:
        super().__init__(decode_responses=True, driver_info=DRIVER)
        self._process = process
        self._direct = direct

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        script = args[0] == "EVALSHA"
        label = "script" if script else str(args[0])

        def run() -> Any:
            return self._process.world.server_time.in_reply(args, self._direct.run(*args, **options))

        return await self._process.io(label, run, again=script)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: ARG002
        return SteppedPipeline(self, transaction)

    async def run_stepped(self, commands: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
        return await self._process.io("read", lambda: self._direct.run_all(commands))


class SteppedPipeline(Pipeline):
    def __init__(self, client: SteppedRedis, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: ARG002
        commands: Any = list(self.command_stack)
        self.command_stack.clear()
        return await self._client.run_stepped(commands) if commands else []
