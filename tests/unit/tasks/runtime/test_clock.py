"""Time: the server's, carried on by this machine's monotonic clock, and the one that tests move."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.runtime import clock
from tasks.runtime.clock import Clock, HandClock, ServerClock

SERVER_MS = 1_700_000_000_000


class Machine:
    """This machine's monotonic clock, in seconds since an arbitrary time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(5_000.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=machine.monotonic))
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


def test_each_answer_of_the_server_sets_the_clock_anew_also_backwards(machine: Machine) -> None:
    server = ServerClock()
    server.observe(SERVER_MS)
    machine.seconds += 10

    server.observe(SERVER_MS + 9_990)
    assert server.now_ms() == SERVER_MS + 9_990
    server.observe(SERVER_MS + 10_010)
    assert server.now_ms() == SERVER_MS + 10_010


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
        patch.setattr(clock, "time", SimpleNamespace(monotonic=machine.monotonic))
        server = ServerClock()
        server.observe(server_ms)
        machine.seconds = since_boot_s + later_s

        true_ms = server_ms + (machine.seconds - since_boot_s) * 1000
        assert true_ms - 1.01 <= server.now_ms() <= true_ms + 0.01


def test_scripts_use_the_servers_own_time() -> None:
    assert ServerClock().for_script() == 0


def test_a_hand_clock_stands_still_until_it_is_moved() -> None:
    hand = HandClock(SERVER_MS)

    assert (hand.now_ms(), hand.now_ms()) == (SERVER_MS, SERVER_MS)
    hand.advance(1.5)
    assert hand.now_ms() == SERVER_MS + 1_500
    hand.advance(0.0004)
    assert hand.now_ms() == SERVER_MS + 1_500


def test_a_hand_clock_hands_its_own_time_to_scripts() -> None:
    hand = HandClock(SERVER_MS)
    hand.advance(3)

    assert hand.for_script() == hand.now_ms() == SERVER_MS + 3_000


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

    assert [type(each.for_script()) for each in clocks] == [int, int]
