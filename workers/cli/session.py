"""Runs a command's coroutine against the ledger that the environment names."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from config.logs.setup import configure_logging
from config.settings import LedgerSettings, load
from tasks.engine.wiring import open_ledger
from tasks.ledger.ledger import Ledger

T = TypeVar("T")


def with_ledger(command: Callable[[Ledger, LedgerSettings], Awaitable[T]]) -> T:
    """Run `command` and return its result.

    Raises:
        SettingsError: the environment is wrong.
        redis.RedisError: the server cannot be reached.
    """
    settings = load(LedgerSettings)
    # A command prints itself what it has done; of the log only errors belong on the terminal.
    configure_logging(log_format="console", level="ERROR", secrets=settings.secrets())

    async def run() -> T:
        ledger = await open_ledger(settings)
        try:
            return await command(ledger, settings)
        finally:
            await ledger.redis.aclose()

    return asyncio.run(run())
