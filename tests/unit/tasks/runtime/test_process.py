"""What one worker process has: built once, in the loop, and closed at the end."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.runtime.event_loop_thread import Process

LONG_S = 20.0


class Parts:
    """Parts that know where they were built and whether they were closed."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.current_thread()
        self.closed_in: asyncio.AbstractEventLoop | None = None


async def build() -> Parts:
    await asyncio.sleep(0)
    return Parts()


async def close(parts: Parts) -> None:
    await asyncio.sleep(0)
    parts.closed_in = asyncio.get_running_loop()


async def ignore(parts: Parts) -> None:
    """Closes nothing."""


async def where() -> threading.Thread:
    return threading.current_thread()


@pytest.fixture
def process() -> Iterator[Process[Parts]]:
    process = Process[Parts]()
    yield process
    process.close(ignore, timeout_s=LONG_S)


def test_the_parts_are_built_in_the_loop_where_they_will_be_used(process: Process[Parts]) -> None:
    parts = process.parts(build)

    assert parts.thread is process.loop.run(where(), timeout_s=LONG_S)


def test_the_parts_are_built_once(process: Process[Parts]) -> None:
    assert process.parts(build) is process.parts(build)


def test_threads_that_all_come_first_get_the_same_parts(process: Process[Parts]) -> None:
    together = threading.Barrier(8)
    built: list[Parts] = []

    async def note() -> Parts:
        built.append(await build())
        return built[-1]

    def call() -> Parts:
        together.wait(LONG_S)
        return process.parts(note)

    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(call) for _ in range(8)]
        got = {id(call.result(LONG_S)) for call in calls}

    assert got == {id(parts) for parts in built}
    assert len(built) == 1


def test_parts_that_could_not_be_built_are_built_by_the_next_call(process: Process[Parts]) -> None:
    async def fail() -> Parts:
        raise ConnectionError("the server is away")

    with pytest.raises(ConnectionError, match="the server is away"):
        process.parts(fail)

    assert isinstance(process.parts(build), Parts)


def test_parts_that_take_too_long_are_dropped_and_built_again(process: Process[Parts]) -> None:
    cancelled = threading.Event()

    async def never() -> Parts:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Parts()

    with pytest.raises(TimeoutError):
        process.parts(never, timeout_s=0.05)

    assert cancelled.wait(LONG_S)
    assert isinstance(process.parts(build), Parts)


def test_closing_closes_the_parts_in_their_loop_and_ends_the_thread(process: Process[Parts]) -> None:
    parts = process.parts(build)

    process.close(close, timeout_s=LONG_S)

    assert parts.closed_in is parts.loop
    assert parts.loop.is_closed()
    assert not parts.thread.is_alive()


def test_closing_what_was_never_built_closes_nothing(process: Process[Parts]) -> None:
    closed: list[Parts] = []

    async def note(parts: Parts) -> None:
        closed.append(parts)

    process.close(note, timeout_s=LONG_S)

    assert closed == []


def test_closing_twice_closes_the_parts_once(process: Process[Parts]) -> None:
    closed: list[Parts] = []

    async def note(parts: Parts) -> None:
        closed.append(parts)

    parts = process.parts(build)
    process.close(note, timeout_s=LONG_S)
    process.close(note, timeout_s=LONG_S)

    assert closed == [parts]


def test_the_thread_ends_even_if_closing_fails(process: Process[Parts]) -> None:
    async def fail(_: Parts) -> None:
        raise ConnectionError("the server is away")

    parts = process.parts(build)

    with pytest.raises(ConnectionError, match="the server is away"):
        process.close(fail, timeout_s=LONG_S)

    assert not parts.thread.is_alive()


def test_the_thread_ends_even_if_closing_takes_too_long(process: Process[Parts]) -> None:
    async def never(_: Parts) -> None:
        await asyncio.Event().wait()

    parts = process.parts(build)

    with pytest.raises(TimeoutError):
        process.close(never, timeout_s=0.05)

    assert not parts.thread.is_alive()


def test_after_closing_new_parts_may_be_built(process: Process[Parts]) -> None:
    before = process.parts(build)
    process.close(close, timeout_s=LONG_S)

    after = process.parts(build)

    assert after is not before
    assert after.thread.is_alive()
