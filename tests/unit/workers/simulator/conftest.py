"""The simulator in this process, called over loopback."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.simulator_calls import Caller, Clock
from workers.simulator.options import SimulatorOptions
from workers.simulator.server import start


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    clock = Clock()
    running = await start(SimulatorOptions(job_duration_s="10", log_lag_s=2.0), lambda: clock.now)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            # Otherwise aiohttp sends a GET a second time when its connection breaks.
            session._retry_connection = False
            yield Caller(running, session, clock)
    finally:
        await running.stop()
