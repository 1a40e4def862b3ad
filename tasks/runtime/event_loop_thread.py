"""The only bridge from Celery's synchronous tasks to asyncio: one event loop thread a process."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

P = TypeVar("P")
T = TypeVar("T")


class EventLoopThread:
    """Runs coroutines for threads that have no event loop of their own.

    Started by the first call that needs it, in the process that needs it: a loop from before a fork hangs.
    """

    def __init__(self, name: str = "scaleout-loop") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def run(self, coroutine: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
        """Run `coroutine` in the loop, with the caller's context variables, and return its result.

        Raises TimeoutError after `timeout_s`; the coroutine is cancelled then, as it is when the waiting
        thread is interrupted.
        """
        future = self.submit(coroutine)
        try:
            return future.result(timeout_s)
        except BaseException:
            future.cancel()
            raise

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start `coroutine` in the loop, with the caller's context variables, without waiting for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Cancel what still runs, wait for it, and end the thread. The next call starts a new one.

        Takes at most twice `timeout_s`: what swallows its cancellation is left behind, and so is a thread
        whose loop is blocked, because a process that is stopped must exit.
        """
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or self._pid != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(_end(timeout_s), loop)
        thread.join(2 * timeout_s)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run_forever, args=(self._loop,), name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _end(timeout_s: float) -> None:
    """Stop the loop that this runs in once its tasks have ended, or after `timeout_s`."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=timeout_s)
    asyncio.get_running_loop().stop()


class Process(Generic[P]):
    """A worker process: its event loop thread, and parts that are built in that loop when first needed."""

    def __init__(self) -> None:
        self.loop = EventLoopThread()
        self._lock = threading.Lock()
        self._parts: P | None = None

    def parts(self, build: Callable[[], Awaitable[P]], *, timeout_s: float = 30.0) -> P:
        """Return the process's parts, built by the first call. A call after a failed one builds again."""
        with self._lock:
            if self._parts is None:
                self._parts = self.loop.run(_call(build), timeout_s=timeout_s)
            return self._parts

    def close(self, close: Callable[[P], Awaitable[None]], *, timeout_s: float) -> None:
        with self._lock:
            parts, self._parts = self._parts, None
            try:
                if parts is not None:
                    self.loop.run(_call(lambda: close(parts)), timeout_s=timeout_s)
            finally:
                self.loop.stop()


async def _call(function: Callable[[], Awaitable[P]]) -> P:
    return await function()
