"""One worker process's lifecycle engine: everything put together, opened and closed in the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis

from config.policy.file import PolicyFile
from config.policy.model import Policy
from config.settings import LedgerSettings, QuotaSettings, Settings
from tasks.ehpc.client import CallReport, EhpcClient
from tasks.ehpc.connections import Connections, open_connections
from tasks.ehpc.signature import Credentials, SigningRules
from tasks.engine.dispatcher import Sweeper
from tasks.handlers.context import Machinery
from tasks.handlers.publish_outcomes import Deliver
from tasks.intake.accept import Intake
from tasks.ledger.due import Lane
from tasks.ledger.keys import Keys
from tasks.ledger.ledger import Ledger
from tasks.quota.rate_limiter import Governor
from tasks.runtime.clock import Clock, ServerClock
from tasks.runtime.redis_client import open_redis
from tasks.runtime.timer import Alarm
from tasks.schedules.sync import ScheduleKeeper

log = structlog.get_logger(__name__)

ALARM_AHEAD_S = 600.0


@dataclass(slots=True)
class Engine:
    redis: Redis
    connections: Connections
    machinery: Machinery
    intake: Intake
    sweeper: Sweeper
    schedules: ScheduleKeeper
    alarm: Alarm[Lane]

    async def close(self, *, drain_s: float) -> None:
        """Give what is under way `drain_s` to end, then cut it off; its leases bring it up again."""
        self.alarm.stop()
        await self.sweeper.drain(drain_s)
        await self.connections.close()
        await self.redis.aclose()


async def open_ledger(settings: LedgerSettings, clock: Clock | None = None) -> Ledger:
    """A ledger that knows the server's time. Close its `redis` after use."""
    redis = open_redis(settings.redis_url.get_secret_value())
    ledger = Ledger(
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
    """`poll_interval_s`: of the workers; dry runs expect their calls by it."""
    return Intake(
        ledger,
        coalesce_s=settings.coalesce_window_s,
        deadline_s=settings.request_deadline_s,
        policy=policy,
        poll_interval_s=poll_interval_s,
    )


def open_api(settings: Settings, connections: Connections, clock: Clock) -> EhpcClient:
    """The provider's API with this installation's credentials; every call is logged at debug level."""
    return EhpcClient(
        connections,
        settings.api_url,
        Credentials(settings.access_key_id.get_secret_value(), settings.secret_access_key),
        SigningRules(settings.signed_path_slash, settings.signature_encoded_twice),
        timeout_s=settings.http_timeout_s,
        connect_timeout_s=min(10.0, settings.http_timeout_s),
        now_ms=clock.now_ms,
        on_call=_log_call,
    )


def open_governor(settings: QuotaSettings, ledger: Ledger) -> Governor:
    """The account's quota, as all workers on this ledger share it."""
    return Governor(
        ledger.redis,
        settings.key_prefix,
        ledger.clock,
        limit=settings.quota_calls,
        window_s=settings.quota_period_s,
        lasting_s=settings.http_timeout_s,
    )


async def open_engine(settings: Settings, deliver: Deliver, policy: PolicyFile) -> Engine:
    """Build everything a worker needs; `deliver(task_id, outcome)` tells a waiting producer."""
    ledger = await open_ledger(settings)
    connections = open_connections()
    machinery = Machinery(
        settings=settings,
        ledger=ledger,
        api=open_api(settings, connections, ledger.clock),
        governor=open_governor(settings, ledger),
        clock=ledger.clock,
        policy=policy,
    )
    intake = open_intake(settings, ledger, policy, poll_interval_s=settings.poll_interval_s)
    keeper = ScheduleKeeper(machinery, policy)
    sweeper = Sweeper(machinery, deliver)
    # What this process has put off it takes up itself, to the moment: ticks are for what others have left.
    alarm = Alarm(ledger.clock, sweeper.sweep_soon, ahead_s=ALARM_AHEAD_S)
    ledger.on_due = alarm.at
    return Engine(ledger.redis, connections, machinery, intake, sweeper, keeper, alarm)


def _log_call(report: CallReport) -> None:
    log.debug(
        "api_call",
        action=report.action,
        zone=report.zone,
        duration_s=round(report.duration_s, 4),
        http_status=report.http_status,
        ret_code=report.ret_code,
        kind=report.error_kind,
    )
