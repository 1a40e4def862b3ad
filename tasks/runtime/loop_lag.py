"""Measures how late the event loop of this process is."""

import asyncio
import time

from tasks.runtime.process_metrics import LOOP_LAG

EVERY_S = 1.0


async def measure_loop_lag() -> None:
    """Measure each second, until cancelled."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(EVERY_S)
        LOOP_LAG.observe(max(0.0, time.monotonic() - began - EVERY_S))
