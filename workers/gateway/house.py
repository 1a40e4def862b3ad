"""What the handlers work with: one ledger, one intake, one hub."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from config.policy.model import Policy
from config.settings import GatewaySettings
from tasks.intake.accept import Intake
from tasks.ledger.ledger import Ledger
from tasks.metrics.read import LedgerMetrics
from tasks.quota.rate_limiter import RateLimiter
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
    metrics: LedgerMetrics
    rate_limiter: RateLimiter
    policy: Callable[[], Policy]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


HOUSE: web.AppKey[House] = web.AppKey("house", House)


def house_of(request: web.Request) -> House:
    return request.app[HOUSE]
