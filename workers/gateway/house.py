"""What the handlers work with: one ledger, one intake, one hub."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from config.settings import GatewaySettings, Settings, load
from tasks.ehpc.connections import open_connections
from tasks.engine.wiring import open_api, open_rate_limiter
from tasks.handlers.context import Context
from tasks.intake.accept import Intake
from tasks.ledger.ledger import Ledger
from workers.gateway.hub import Hub
from workers.gateway.throttle import Throttle


@dataclass(slots=True)
class House:
    """`stopping`: set when the process has been told to end; waits and streams end then."""

    settings: GatewaySettings
    ledger: Ledger
    intake: Intake
    hub: Hub
    throttle: Throttle
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Context]:
        """Open the provider's API. Raises SettingsError without a worker's settings."""
        settings = load(Settings)
        async with open_connections() as connections:
            yield Context(
                settings=settings,
                ledger=self.ledger,
                api=open_api(settings, connections, self.ledger.clock),
                rate_limiter=open_rate_limiter(settings, self.ledger),
                clock=self.ledger.clock,
            )


HOUSE: web.AppKey[House] = web.AppKey("house", House)


def house_of(request: web.Request) -> House:
    return request.app[HOUSE]
