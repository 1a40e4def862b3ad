"""The parts of a worker process, wired together; opened and closed in the event loop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from redis.asyncio import Redis

from config.policy.file import PolicyFile
from config.policy.model import Policy
from config.settings import LedgerSettings, QuotaSettings, Settings
from tasks.ehpc.client import CallReport, EhpcClient
from tasks.ehpc.connections import Connections, open_connections
from tasks.ehpc.signature import MAX_SKEW_S, Credentials, SigningRules
from tasks.engine.dispatcher import Dispatcher
from tasks.engine.state_file import StateFile
from tasks.handlers.context import Context
from tasks.handlers.publish_outcomes import Publisher
from tasks.handlers.scrub_ledger import Scrub
from tasks.intake.accept import Intake
from tasks.ledger.due import Lane
from tasks.ledger.keys import Keys
from tasks.ledger.ledger import Ledger
from tasks.quota.rate_limiter import RateLimiter
from tasks.runtime.clock import Clock, ServerClock
from tasks.runtime.loop_lag import measure_loop_lag
from tasks.runtime.process_metrics import API_CALL_DURATION, API_CALLS, CALL_CLASS
from tasks.runtime.redis_client import open_redis
from tasks.runtime.timer import Timer
from tasks.schedules.sync import ScheduleSync

log = structlog.get_logger(__name__)

TIMER_AHEAD_S = 600.0


@dataclass(slots=True)
class Engine:
    redis: Redis
    connections: Connections
    ctx: Context
    intake: Intake
    dispatcher: Dispatcher
    schedules: ScheduleSync
    state_file: StateFile
    scrub: Scrub
    timer: Timer[Lane]
    measuring: asyncio.Task[None] | None

    async def close(self, *, drain_s: float) -> None:
        """Give running work `drain_s` seconds to end, then cancel it; its leases bring it up again."""
        self.timer.stop()
        if self.measuring is not None:
            self.measuring.cancel()
        await self.dispatcher.drain(drain_s)
        await self.connections.close()
        await self.redis.aclose()


L = TypeVar("L", bound=Ledger)


async def open_ledger(settings: LedgerSettings, clock: Clock | None = None) -> Ledger:
    """Open a ledger that knows the server's time. Close its `redis` after use."""
    return await open_ledger_as(Ledger, settings, clock)


async def open_ledger_as(kind: type[L], settings: LedgerSettings, clock: Clock | None = None) -> L:
    """Open a ledger of a certain kind."""
    redis = open_redis(settings.ledger_address)
    ledger = kind(
        redis,
        Keys(settings.key_prefix),
        clock or ServerClock(),
        outcome_ttl_s=settings.outcome_ttl_s,
        stream_maxlen=settings.stream_maxlen,
    )
    try:
        await ledger.learn_time()
    except BaseException:
        await redis.aclose()
        raise
    return ledger


def open_intake(
    settings: LedgerSettings,
    ledger: Ledger,
    policy: Callable[[], Policy] = Policy,
    *,
    poll_interval_s: float = 5.0,
) -> Intake:
    """Return the intake of a program; `poll_interval_s` of the workers, for the estimates of dry runs."""
    return Intake(
        ledger,
        coalesce_s=settings.coalesce_window_s,
        deadline_s=settings.request_deadline_s,
        policy=policy,
        poll_interval_s=poll_interval_s,
    )


def open_api_connections(settings: Settings) -> Connections:
    """Open the connections of a process to the API. Close them after use."""
    return open_connections(ca_file=settings.api_ca_file, proxy=settings.api_proxy)


def open_api(settings: Settings, connections: Connections, clock: Clock) -> EhpcClient:
    """Return the provider's API with this installation's credentials; every call is counted and logged."""
    return EhpcClient(
        connections,
        settings.api_url,
        Credentials(settings.access_key_id.get_secret_value(), settings.secret_access_key),
        SigningRules(settings.signed_path_slash, settings.signature_encoded_twice),
        timeout_s=settings.http_timeout_s,
        connect_timeout_s=min(10.0, settings.http_timeout_s),
        now_ms=clock.now_ms,
        on_call=_report_call,
    )


def open_rate_limiter(settings: QuotaSettings, ledger: Ledger) -> RateLimiter:
    """Return the account's quota, as all workers on this ledger share it."""
    return RateLimiter(
        ledger.redis,
        settings.key_prefix,
        ledger.clock,
        limit=settings.quota_calls,
        window_s=settings.quota_period_s,
        lasting_s=settings.http_timeout_s,
    )


async def open_engine(settings: Settings, publisher: Publisher, policy: PolicyFile) -> Engine:
    """Build everything that a worker needs; `publisher` tells the producers that wait."""
    ledger = await open_ledger(settings)
    try:
        await ledger.claim_for_account(settings.access_key_id.get_secret_value())
    except BaseException:
        await ledger.redis.aclose()
        raise
    connections = open_api_connections(settings)
    state_file = StateFile(settings.state_dir, settings)
    state_file.load(ledger.epoch)
    # Until then a call that was sent before may still be executed, and its job be missing from the log.
    in_flight_s = settings.signature_ttl_s + settings.http_timeout_s + settings.log_lag_s + MAX_SKEW_S
    ledger.settle_ms = round(in_flight_s * 1000)
    ctx = Context(
        settings=settings,
        ledger=ledger,
        api=open_api(settings, connections, ledger.clock),
        rate_limiter=open_rate_limiter(settings, ledger),
        clock=ledger.clock,
        policy=policy,
    )
    intake = open_intake(settings, ledger, policy, poll_interval_s=settings.poll_interval_s)
    dispatcher = Dispatcher(ctx, publisher)
    # This process sweeps in time for what it has itself scheduled: ticks are for what others have left.
    timer = Timer(ledger.clock, dispatcher.sweep_soon, ahead_s=TIMER_AHEAD_S)
    ledger.on_due = timer.schedule
    return Engine(
        redis=ledger.redis,
        connections=connections,
        ctx=ctx,
        intake=intake,
        dispatcher=dispatcher,
        schedules=ScheduleSync(ctx, policy),
        state_file=state_file,
        scrub=Scrub(ctx),
        timer=timer,
        measuring=None if settings.metrics_port is None else asyncio.create_task(measure_loop_lag()),
    )


def _report_call(report: CallReport) -> None:
    API_CALLS.labels(report.action, CALL_CLASS.get(), report.error_kind or "ok").inc()
    API_CALL_DURATION.labels(report.action).observe(report.duration_s)
    log.debug(
        "api_call",
        action=report.action,
        zone=report.zone,
        duration_s=round(report.duration_s, 4),
        http_status=report.http_status,
        ret_code=report.ret_code,
        kind=report.error_kind,
    )
