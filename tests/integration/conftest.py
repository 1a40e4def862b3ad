"""What handlers of due work are given, on a real ledger."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from config.settings import Settings
from tasks.ehpc.connections import Connections, open_connections
from tasks.engine.wiring import open_api, open_rate_limiter
from tasks.handlers.context import Context
from tasks.ledger.ledger import Ledger
from tasks.runtime.clock import HandClock

SETTINGS = Settings(access_key_id=SecretStr("key"), secret_access_key=SecretStr("secret"))


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    async with open_connections() as opened:
        yield opened


@pytest.fixture
def ctx(ledger: Ledger, connections: Connections, clock: HandClock) -> Context:
    api, limiter = open_api(SETTINGS, connections, clock), open_rate_limiter(SETTINGS, ledger)
    return Context(SETTINGS, ledger, api, limiter, clock)
