"""The bridge from synchronous tasks to the one event loop of a process."""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

import pytest

from tasks.runtime.event_loop_thread import EventLoopThread

LONG_S = 20.0

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="nothing")


class Interrupted(BaseException):
    """What a signal handler may raise in the thread that waits."""


class Endless:
    """A coroutine that only ends when it is cancelled, and tells of both."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def where() -> tuple[threading.Thread, asyncio.AbstractEventLoop]:
    return threading.current_thread(), asyncio.get_running_loop()


async def nothing() -> None:
    """Ends at once."""


@pytest.fixture
def loop() -> Iterator[EventLoopThread]:
    loop = EventLoopThread("test-loop")
    yield loop
    loop.stop(timeout_s=LONG_S)


def test_a_coroutine_gives_its_result_to_the_thread_that_waits(loop: EventLoopThread) -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert loop.run(answer(), timeout_s=LONG_S) == 42


def test_what_a_coroutine_raises_is_raised_where_it_is_waited_for(loop: EventLoopThread) -> None:
    async def fail() -> None:
        raise LookupError("of the coroutine")

    with pytest.raises(LookupError, match="of the coroutine"):
        loop.run(fail(), timeout_s=LONG_S)


def test_all_coroutines_run_in_one_loop_in_one_daemon_thread(loop: EventLoopThread) -> None:
    first_thread, first_loop = loop.run(where(), timeout_s=LONG_S)
    second_thread, second_loop = loop.run(where(), timeout_s=LONG_S)

    assert first_thread is second_thread is not threading.current_thread()
    assert first_loop is second_loop
    assert first_thread.name == "test-loop"
    assert first_thread.daemon


def test_no_thread_is_started_before_the_first_coroutine() -> None:
    before = threading.active_count()

    EventLoopThread().stop()

    assert threading.active_count() == before


def test_threads_that_all_come_first_share_one_loop(loop: EventLoopThread) -> None:
    together = threading.Barrier(8)

    def call() -> asyncio.AbstractEventLoop:
        together.wait(LONG_S)
        return loop.run(where(), timeout_s=LONG_S)[1]

    with ThreadPoolExecutor(8) as threads:
        loops = {call.result(LONG_S) for call in [threads.submit(call) for _ in range(8)]}

    assert len(loops) == 1


def test_coroutines_of_several_threads_run_side_by_side(loop: EventLoopThread) -> None:
    async def meet(barrier: asyncio.Barrier) -> int:
        return await barrier.wait()

    async def make() -> asyncio.Barrier:
        return asyncio.Barrier(4)

    barrier = loop.run(make(), timeout_s=LONG_S)
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(loop.run, meet(barrier), timeout_s=LONG_S) for _ in range(4)]
        places = sorted(call.result(LONG_S) for call in calls)

    assert places == [0, 1, 2, 3]


def test_a_coroutine_that_takes_too_long_is_cancelled_with_an_error(loop: EventLoopThread) -> None:
    endless = Endless()

    with pytest.raises(TimeoutError):
        loop.run(endless.run(), timeout_s=0.05)

    assert endless.cancelled.wait(LONG_S)
    assert loop.run(where(), timeout_s=LONG_S)


def test_a_timeout_of_the_coroutine_itself_comes_out_as_it_is(
    loop: EventLoopThread,
) -> None:
    async def too_slow() -> None:
        raise TimeoutError("of the coroutine")

    with pytest.raises(TimeoutError, match="of the coroutine"):
        loop.run(too_slow(), timeout_s=LONG_S)


def test_a_coroutine_is_cancelled_when_its_waiting_thread_is_interrupted(
    loop: EventLoopThread,
) -> None:
    endless = Endless()

    def interrupt(*_: object) -> None:
        raise Interrupted

    async def be_interrupted() -> None:
        # Not before the other thread waits.
        await asyncio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)
        await endless.run()

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interrupted):
            loop.run(be_interrupted(), timeout_s=LONG_S)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert endless.cancelled.wait(LONG_S)


def test_a_coroutine_dropped_before_it_started_leaves_no_warning(
    loop: EventLoopThread,
) -> None:
    release = threading.Event()

    async def hold_up_the_whole_loop() -> None:
        release.wait(LONG_S)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        holding = loop.submit(hold_up_the_whole_loop())
        with pytest.raises(TimeoutError):
            loop.run(nothing(), timeout_s=0.01)
        release.set()
        holding.result(LONG_S)
        loop.run(where(), timeout_s=LONG_S)
        gc.collect()

    assert [str(warning.message) for warning in told] == []


def test_a_coroutine_sees_the_callers_context_and_cannot_change_it(loop: EventLoopThread) -> None:
    async def look_and_change() -> str:
        seen = word.get()
        word.set("of the coroutine")
        await asyncio.sleep(0)
        assert word.get() == "of the coroutine"
        return seen

    token = word.set("of the caller")
    try:
        assert loop.run(look_and_change(), timeout_s=LONG_S) == "of the caller"
        assert word.get() == "of the caller"
    finally:
        word.reset(token)


def test_each_of_several_callers_has_its_own_context(loop: EventLoopThread) -> None:
    async def look() -> str:
        await asyncio.sleep(0)
        return word.get()

    def call(own: str) -> str:
        word.set(own)
        return loop.run(look(), timeout_s=LONG_S)

    words = [f"word-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, words)) == words
    assert word.get() == "nothing"


def test_a_coroutine_can_be_started_without_being_waited_for(loop: EventLoopThread) -> None:
    endless = Endless()

    future = loop.submit(endless.run())

    assert endless.begun.wait(LONG_S)
    assert not future.done()
    future.cancel()
    assert endless.cancelled.wait(LONG_S)


def test_stopping_cancels_what_still_runs_waits_for_it_and_ends_the_thread(loop: EventLoopThread) -> None:
    endless = Endless()
    future = loop.submit(endless.run())
    thread, inner = loop.run(where(), timeout_s=LONG_S)
    assert endless.begun.wait(LONG_S)

    loop.stop(timeout_s=LONG_S)

    assert endless.cancelled.is_set()
    with pytest.raises(CancelledError):
        future.result(LONG_S)
    assert not thread.is_alive()
    assert inner.is_closed()


def test_stopping_lets_what_is_cancelled_clean_up_first(loop: EventLoopThread) -> None:
    cleaned: list[str] = []

    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("done")

    loop.submit(tidy())
    loop.run(where(), timeout_s=LONG_S)
    loop.stop(timeout_s=LONG_S)

    assert cleaned == ["done"]


def test_stopping_ends_the_thread_even_if_a_task_swallows_its_cancellation(loop: EventLoopThread) -> None:
    begun = threading.Event()

    async def stubborn() -> None:
        begun.set()
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(LONG_S)

    loop.submit(stubborn())
    assert begun.wait(LONG_S)
    thread, inner = loop.run(where(), timeout_s=LONG_S)

    loop.stop(timeout_s=0.2)
    thread.join(LONG_S)

    assert not thread.is_alive()
    assert inner.is_closed()


def test_stopping_does_not_wait_for_ever_for_a_loop_that_is_blocked(loop: EventLoopThread) -> None:
    begun, release = threading.Event(), threading.Event()

    async def block() -> None:
        begun.set()
        release.wait(LONG_S)

    thread, inner = loop.run(where(), timeout_s=LONG_S)
    loop.submit(block())
    assert begun.wait(LONG_S)
    began = time.monotonic()

    loop.stop(timeout_s=0.1)

    assert time.monotonic() - began < LONG_S / 2
    release.set()
    thread.join(LONG_S)
    assert not thread.is_alive()
    assert inner.is_closed()


def test_after_a_stop_the_next_call_starts_another_loop(loop: EventLoopThread) -> None:
    before, _ = loop.run(where(), timeout_s=LONG_S)
    loop.stop(timeout_s=LONG_S)

    after, _ = loop.run(where(), timeout_s=LONG_S)

    assert after is not before
    assert after.is_alive()
    assert not before.is_alive()


def test_stopping_twice_or_before_anything_ran_does_nothing(loop: EventLoopThread) -> None:
    loop.stop()
    loop.run(where(), timeout_s=LONG_S)
    loop.stop(timeout_s=LONG_S)
    loop.stop()


IN_A_FORK = """
import os, threading
from tasks.runtime.event_loop_thread import EventLoopThread

async def where():
    return os.getpid(), threading.get_native_id()

loop, unused = EventLoopThread(), EventLoopThread()
parents = loop.run(where(), timeout_s=20)
unused.run(where(), timeout_s=20)
child = os.fork()
if child == 0:
    unused.stop(timeout_s=20)   # the thread of the parent is not there: nothing to wait for
    of_child = loop.run(where(), timeout_s=20)
    loop.stop(timeout_s=20)
    os._exit(0 if of_child[0] == os.getpid() and of_child[1] != parents[1] else 1)
_, status = os.waitpid(child, 0)
assert loop.run(where(), timeout_s=20) == parents
print("child ended with", os.waitstatus_to_exitcode(status))
"""


def test_a_forked_process_starts_its_own_loop_and_leaves_the_parents() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", IN_A_FORK],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("child ended with 0\n", "", 0)
