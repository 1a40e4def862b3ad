"""Runs a command's coroutine against the ledger that the environment names."""

import asyncio
import platform
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from config.logs.setup import configure_logging
from config.settings import LedgerSettings, Settings, load
from tasks.engine.wiring import open_api, open_api_connections, open_ledger_as, open_rate_limiter
from tasks.handlers.context import Context
from tasks.ledger.ledger import Ledger
from tasks.ledger.shell_acts import ShellLedger
from workers.cli.terminal import user_name

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
        ledger = await open_ledger_as(ShellLedger, settings)
        ledger.shell = f"{user_name()}@{platform.node()}"
        try:
            return await command(ledger, settings)
        finally:
            await ledger.redis.aclose()

    return asyncio.run(run())


@asynccontextmanager
async def provider_of(ledger: Ledger) -> AsyncIterator[Context]:
    """Open the provider's API, whose calls count on the quota that the workers share.

    Raises:
        SettingsError: the environment lacks what a worker's has, such as the access key.
        OtherAccount: it has the access key of another account, whose log says nothing of this ledger's.
    """
    settings = load(Settings)
    await ledger.demand_account(settings.access_key_id.get_secret_value())
    async with open_api_connections(settings) as connections:
        yield Context(
            settings=settings,
            ledger=ledger,
            api=open_api(settings, connections, ledger.clock),
            rate_limiter=open_rate_limiter(settings, ledger),
            clock=ledger.clock,
        )
