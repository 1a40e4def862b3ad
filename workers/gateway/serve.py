"""Runs the gateway until SIGTERM or SIGINT; what is open then ends in order."""

import asyncio
import json
import platform
import signal
import sys
from contextlib import suppress

import structlog
from aiohttp import web
from redis.exceptions import RedisError

from config.logs.setup import configure_logging
from config.loopback import is_loopback
from config.settings import GatewaySettings
from tasks.contract.policy_file import open_policy
from tasks.engine.traces import start_traces
from tasks.engine.wiring import open_intake, open_ledger, open_rate_limiter
from tasks.ledger.ledger import Ledger
from tasks.ledger.shared_time import SharedTime
from tasks.metrics.read import LedgerMetrics
from tasks.runtime import tracing
from tasks.runtime.garbage import collect_less_often
from tasks.runtime.redis_servers import async_client
from workers.gateway import hardly_http
from workers.gateway.access import Access
from workers.gateway.app import make_app
from workers.gateway.clients import Tokens
from workers.gateway.house import House
from workers.gateway.hub import Hub
from workers.gateway.sessions import Sessions
from workers.gateway.throttle import Throttle

log = structlog.get_logger(__name__)

DRAIN_S = 10.0
KEEP_ALIVE_S = 75.0
BLOCKING_TIMEOUT_S = 10.0
MASTER_EVERY_S = 1.0
TIME_EVERY_S = 10.0
CANCEL_AGAIN_S = 0.5


class CannotServe(ValueError):  # noqa: N818 - says what is the matter
    """The settings do not allow it; the text names the remedy."""


def serve(settings: GatewaySettings) -> None:
    """Serve until the process is told to end.

    Raises:
        CannotServe, TokensError, SettingsError: the settings do not allow it.
    """
    hardly_http.install()
    configure_logging(log_format=settings.log_format, level=settings.log_level, secrets=settings.secrets())
    start_traces(settings, "gateway")
    try:
        asyncio.run(_serve(settings))
    finally:
        tracing.stop()


async def _serve(settings: GatewaySettings) -> None:
    tokens = None if settings.gateway_tokens_file is None else Tokens(settings.gateway_tokens_file)
    if tokens is None and not is_loopback(settings.gateway_host):
        raise CannotServe(
            f"SCALEOUT_GATEWAY_HOST={settings.gateway_host} can be reached from elsewhere: set "
            "SCALEOUT_GATEWAY_TOKENS_FILE, or listen on 127.0.0.1"
        )
    ledger = await open_ledger(settings)
    reading = async_client(settings.ledger_address, decode_responses=True, socket_timeout=BLOCKING_TIMEOUT_S)
    hub, throttle = Hub(ledger, reading), Throttle()
    policy = open_policy(settings)
    intake = open_intake(settings, ledger, policy, poll_interval_s=settings.poll_interval_s)
    broker = async_client(settings.broker_address, socket_timeout=BLOCKING_TIMEOUT_S)
    queues = (settings.queue, settings.sweep_queue)
    limiter = open_rate_limiter(settings, ledger)
    metrics = LedgerMetrics(ledger, limiter, policy, broker, queues)
    house = House(settings, ledger, intake, hub, throttle, metrics, limiter, policy)
    await hub.begin()
    access = Access(tokens, _names(settings), throttle, Sessions(ledger))
    runner = web.AppRunner(
        make_app(house, access),
        access_log=None,
        shutdown_timeout=DRAIN_S,
        keepalive_timeout=KEEP_ALIVE_S,
        handler_cancellation=True,
    )
    background: list[asyncio.Task[None]] = []
    try:
        await runner.setup()
        collect_less_often()
        await _listen(runner, settings)
        work = (hub.run(), _stay_on_master(ledger), _keep_time(SharedTime(ledger)))
        background += map(asyncio.create_task, work)
        _say(runner, tokens)
        await _told_to_end()
        house.stopping.set()
        hub.wake()
    finally:
        await runner.cleanup()
        for task in background:
            await _end(task)
        await reading.aclose()
        await broker.aclose()
        await ledger.redis.aclose()
    log.info("gateway_stopped")


async def _listen(runner: web.AppRunner, settings: GatewaySettings) -> None:
    host, port = settings.gateway_host, settings.gateway_port
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise CannotServe(
            f"SCALEOUT_GATEWAY_HOST={host} with SCALEOUT_GATEWAY_PORT={port} cannot be listened on "
            f"({error.strerror or error}): name another port or an address of this machine, or stop what "
            "listens there"
        ) from error


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel until it has ended: redis-py may lose a cancellation while it connects."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)


async def _stay_on_master(ledger: Ledger) -> None:
    """What an old master accepts after a failover is lost with it."""
    while True:
        with suppress(RedisError, OSError):
            await ledger.is_on_master()
        await asyncio.sleep(MASTER_EVERY_S)


async def _keep_time(shared: SharedTime) -> None:
    while True:
        with suppress(RedisError, OSError):
            await shared.compare()
        await asyncio.sleep(TIME_EVERY_S)


def _names(settings: GatewaySettings) -> set[str]:
    given = {name.strip().lower() for name in settings.gateway_names.split(",") if name.strip()}
    return given or {settings.gateway_host.strip("[]").lower(), "localhost"}


def _say(runner: web.AppRunner, tokens: Tokens | None) -> None:
    host, port = runner.addresses[0][:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    sys.stdout.write(json.dumps({"url": url, "host": platform.node()}) + "\n")
    sys.stdout.flush()
    log.info("gateway_started", url=url, clients="tokens" if tokens else "everybody on this machine")


async def _told_to_end() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.set)
    await told.wait()
