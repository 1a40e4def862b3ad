"""Time: the server's, carried on by this machine's monotonic clock, and the one that tests move."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tasks.runtime import clock
from tasks.runtime.clock import FOREVER_MS, Clock, HandClock, ServerClock

SERVER_MS = 1_700_000_000_000


class Machine:
    """This machine's monotonic clock, in seconds since an arbitrary time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def clock_gettime(self, _: int) -> float:
        return self.seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(5_000.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(clock_gettime=machine.clock_gettime))
    return machine


def test_the_servers_time_is_not_guessed_before_its_first_reply() -> None:
    with pytest.raises(RuntimeError, match="before its first reply"):
        ServerClock().now_ms()


def test_the_servers_time_goes_on_with_the_monotonic_clock_between_two_answers(machine: Machine) -> None:
    server = ServerClock()
    server.observe(SERVER_MS)

    assert server.now_ms() == SERVER_MS
    machine.seconds += 2.5
    assert server.now_ms() == SERVER_MS + 2_500


def test_the_clock_follows_the_answer_that_was_under_way_the_shortest(machine: Machine) -> None:
    server = ServerClock()
    server.observe(SERVER_MS)
    machine.seconds += 10

    server.observe(SERVER_MS + 10_010)
    assert server.now_ms() == SERVER_MS + 10_010
    server.observe(SERVER_MS + 8_000)
    assert server.now_ms() == SERVER_MS + 10_010


def test_the_clock_follows_a_server_that_is_slower(machine: Machine) -> None:
    server, slow_ms = ServerClock(), float(SERVER_MS)
    server.observe(SERVER_MS)
    for _ in range(10_000):
        machine.seconds += 1
        slow_ms += 999.9
        server.observe(int(slow_ms))

    assert abs(server.now_ms() - slow_ms) < 5


@pytest.mark.parametrize("step_s", [120, 3_600, 90_000, -120, -3_600])
def test_a_step_of_the_server_changes_nothing_until_it_is_confirmed(machine: Machine, step_s: int) -> None:
    server = ServerClock()
    server.observe(SERVER_MS)
    with capture_logs() as logs:
        for _ in range(20):
            machine.seconds += 1
            server.observe(round(SERVER_MS + (machine.seconds - 5_000 + step_s) * 1000))

    assert server.now_ms() == SERVER_MS + 20_000
    assert (server.step_ms, server.steady_ms()) == (step_s * 1000, 20_000)
    assert server.since_step_ms() == FOREVER_MS
    assert [line["event"] for line in logs] == ["clock_stepped"]

    server.follow_step()

    assert server.now_ms() == SERVER_MS + 20_000 + step_s * 1000
    assert (server.step_ms, server.steady_ms(), server.since_step_ms()) == (0, 0, 0)


def test_a_step_that_is_taken_back_is_over(machine: Machine) -> None:
    server = ServerClock()
    server.observe(SERVER_MS)

    server.observe(SERVER_MS + 3_600_000)
    assert server.step_ms == 3_600_000
    server.observe(SERVER_MS)

    assert (server.step_ms, server.now_ms()) == (0, SERVER_MS)


@given(
    since_boot_s=st.floats(0, 1e8),
    server_ms=st.integers(1_500_000_000_000, 4_000_000_000_000),
    later_s=st.floats(0, 1e5),
)
def test_the_servers_time_is_never_ahead_and_at_most_rounding_late(
    since_boot_s: float, server_ms: int, later_s: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(since_boot_s)
        patch.setattr(clock, "time", SimpleNamespace(clock_gettime=machine.clock_gettime))
        server = ServerClock()
        server.observe(server_ms)
        machine.seconds = since_boot_s + later_s

        true_ms = server_ms + (machine.seconds - since_boot_s) * 1000
        assert true_ms - 1.01 <= server.now_ms() <= true_ms + 0.01


def test_a_hand_clock_stands_still_until_it_is_moved() -> None:
    hand = HandClock(SERVER_MS)

    assert (hand.now_ms(), hand.now_ms()) == (SERVER_MS, SERVER_MS)
    hand.advance(1.5)
    assert hand.now_ms() == SERVER_MS + 1_500
    hand.advance(0.0004)
    assert hand.now_ms() == SERVER_MS + 1_500


def test_a_hand_clock_does_not_mind_the_servers_time() -> None:
    hand = HandClock(SERVER_MS)

    hand.observe(1)

    assert hand.now_ms() == SERVER_MS


async def test_sleeping_by_the_servers_clock_does_not_block_the_loop() -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()

    await ServerClock().sleep(0.02)

    assert loop.time() - before >= 0.019


async def test_sleeping_by_a_hand_clock_moves_it_and_takes_no_time() -> None:
    hand = HandClock(SERVER_MS)

    await hand.sleep(3_600)

    assert hand.now_ms() == SERVER_MS + 3_600_000


def test_either_clock_is_a_clock() -> None:
    clocks: list[Clock] = [ServerClock(), HandClock()]

    assert [type(each.steady_ms()) for each in clocks] == [int, int]
