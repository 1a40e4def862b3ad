"""A proxy between two processes that does to TCP connections what networks do to them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from tasks.runtime.event_loop_thread import EventLoopThread
from tests.support.ports import free_port

CHUNK = 65_536
CALL_S = 10.0
KEEPALIVE_S = 120.0
RESET = struct.pack("ii", 1, 0)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


Broken = Literal["replies lost", "requests cut off", "replies cut off"]


@dataclass(slots=True)
class Trap:
    """Breaks the next `times` connections that ask something with `about` in it, until `until`."""

    how: Broken
    about: bytes
    times: int
    until: float

    def takes(self, connection: Connection, *, request: bool) -> bool:
        of_requests = self.how == "requests cut off"
        if self.times == 0 or request is not of_requests or self.about not in connection.asked:
            return False
        if time.monotonic() > self.until:
            return False
        self.times -= 1
        return True


class Connection:
    """One client's connection and the one behind it. `asked`: what has had no answer yet."""

    def __init__(self, client: Streams, server: Streams) -> None:
        self.client = client
        self.server = server
        self.frozen = False
        self.asked = b""

    def cut(self) -> None:
        """RST to both sides: with a linger time of 0 the kernel drops the connection."""
        for _, writer in (self.client, self.server):
            end = writer.get_extra_info("socket")
            if end is not None and end.fileno() >= 0:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    def close_one_way(self, *, towards_client: bool) -> None:
        """FIN to one side; the other way stays open."""
        _, writer = self.client if towards_client else self.server
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()


class TcpProxy:
    """Listens on a port of loopback and passes everything on to `server_port`.

    Each fault is one method; it may be called from any thread. Those that last are over by themselves.
    """

    def __init__(self, server_port: int, loop: EventLoopThread) -> None:
        self._server_port = server_port
        self._loop = loop
        self._listener: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._stalled_until = 0.0
        self._slow_until = 0.0
        self._delay_s = 0.0
        self._new_ones_freeze = False
        self._traps: list[Trap] = []
        self.port = free_port()

    def pass_on_to(self, server_port: int) -> None:
        """New connections reach another server; those that are there stay where they are."""
        self._server_port = server_port

    def cut(self) -> int:
        """Reset every connection; gives how many there were."""
        return self._call(self._on_all(Connection.cut))

    def freeze(self, *, also_new_ones: bool = False) -> int:
        """Whatever is connected now hears nothing more, for good, and is not told so.

        New connections work, unless they are frozen too, until `thaw`.
        """
        self._new_ones_freeze = also_new_ones

        def frozen(connection: Connection) -> None:
            connection.frozen = True

        return self._call(self._on_all(frozen))

    def thaw(self) -> None:
        """New connections work again."""
        self._new_ones_freeze = False

    def half_close(self, *, towards_client: bool) -> int:
        """One side of every connection sees its end, the other does not."""
        return self._call(
            self._on_all(lambda connection: connection.close_one_way(towards_client=towards_client))
        )

    def stall(self, seconds: float) -> None:
        """Hold back everything for so long, then deliver it: what arrives is late."""
        self._stalled_until = time.monotonic() + seconds

    def slow(self, delay_s: float, seconds: float) -> None:
        """Each piece takes `delay_s` longer, for so long."""
        self._delay_s = delay_s
        self._slow_until = time.monotonic() + seconds

    def break_next(self, how: Broken, *, times: int, within_s: float, about: bytes = b"") -> None:
        """Let nothing, or only half, of the next requests or replies arrive, then reset the connection."""
        self._traps.append(Trap(how, about, times, time.monotonic() + within_s))

    def refuse(self, *, cut: bool = True) -> None:
        """Refuse new connections, until `accept`, and reset those that are there."""
        self._call(self._close(cut=cut))

    def accept(self) -> None:
        """Listen, on the same port as before."""
        self._call(self._listen())

    def calm(self) -> None:
        """End what lasts; what is frozen stays so."""
        self._stalled_until = self._slow_until = 0.0
        self._new_ones_freeze = False
        self._traps = []
        self.accept()

    def stop(self) -> None:
        self._call(self._stop())

    def _call(self, work: Awaitable[int]) -> int:
        async def run() -> int:
            return await work

        return self._loop.run(run(), timeout_s=CALL_S)

    async def _on_all(self, do: Callable[[Connection], None]) -> int:
        present = list(self._connections)
        for connection in present:
            do(connection)
        return len(present)

    async def _listen(self) -> int:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        return self.port

    async def _close(self, *, cut: bool = True) -> int:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        return await self._on_all(Connection.cut) if cut else 0

    async def _stop(self) -> int:
        await self._close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        return 0

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection was accepted outside of a task")
        self._pumps.add(task)
        try:
            await self._serve((reader, writer))
        except asyncio.CancelledError:
            # asyncio's own callback on this task cannot take a cancelled one.
            return
        finally:
            self._pumps.discard(task)
            writer.transport.abort()

    async def _serve(self, client: Streams) -> None:
        try:
            server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            return
        connection = Connection(client, server)
        connection.frozen = self._new_ones_freeze
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(connection, client[0], server[1], request=True),
                self._pump(connection, server[0], client[1], request=False),
            )
        finally:
            self._connections.discard(connection)
            server[1].transport.abort()

    async def _pump(
        self,
        connection: Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        request: bool,
    ) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while data := await reader.read(CHUNK):
                await self._hold_back()
                if connection.frozen:
                    continue
                if request:
                    connection.asked += data
                trap = next((trap for trap in self._traps if trap.takes(connection, request=request)), None)
                if trap is not None:
                    if trap.how != "replies lost":
                        writer.write(data[: len(data) // 2])
                        # What was written has to leave before the reset takes it along.
                        await asyncio.sleep(0.01)
                    connection.cut()
                    return
                if not request:
                    connection.asked = b""
                writer.write(data)
                await writer.drain()
        if connection.frozen:
            # Nobody hears of the end either, until the other side's keepalive finds nobody there.
            await asyncio.sleep(KEEPALIVE_S)
            connection.cut()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()

    async def _hold_back(self) -> None:
        if time.monotonic() < self._slow_until:
            await asyncio.sleep(self._delay_s)
        await asyncio.sleep(max(0.0, self._stalled_until - time.monotonic()))


@contextmanager
def tcp_proxy(server_port: int) -> Iterator[TcpProxy]:
    """A proxy in a thread of its own."""
    loop = EventLoopThread("tcp-proxy")
    proxy = TcpProxy(server_port, loop)
    try:
        proxy.accept()
        yield proxy
    finally:
        proxy.stop()
        loop.stop()
