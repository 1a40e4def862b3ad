"""Find out what time it is, before anything is claimed or ended by it.

A process takes its time from the Redis server, whose clock may be wrong just after its machine has started.
"""

from contextlib import suppress

from config.timestamps import utc_second
from tasks.ehpc.errors import EhpcError
from tasks.handlers.context import SKEW_RETRY_MS, Context
from tasks.handlers.provider_calls import Deferred, call_with_grant, reserve
from tasks.quota.priorities import CallPriority


async def prove_time(ctx: Context) -> bool:
    """Return whether this process knows the time, or need not; the provider is asked by one listing.

    Where nothing waits and nothing is scheduled, there is no zone to ask in, and nothing to be done early.
    """
    now = ctx.clock.monotonic_ms()
    if not ctx.ledger.time_is_proven and now >= ctx.ask_time_from_ms:
        zone = await _some_zone(ctx)
        if zone is None:
            return True
        ctx.ask_time_from_ms = now + SKEW_RETRY_MS
        with suppress(Deferred, EhpcError):
            grant = await reserve(ctx, CallPriority.POLL)
            at = utc_second(ctx.clock.now_ms())
            request = ctx.api.list_jobs(zone, at=at, start_time=at, offset=0, newest_first=True)
            await call_with_grant(ctx, grant, grant.calls[0], request)
        if not ctx.ledger.time_is_proven:
            await ctx.report_once("time_not_proven", zone, zone=zone, skew_s=ctx.api.skew_s)
    return ctx.ledger.time_is_proven


async def _some_zone(ctx: Context) -> str | None:
    """Return a zone of what waits for its time."""
    async for request in ctx.ledger.overview.open_records():
        if request.spec is not None:
            return request.spec.zone
    for name in await ctx.ledger.schedule_names():
        record = await ctx.ledger.unless_unreadable(ctx.ledger.schedule(name))
        if record is not None and not record.gone:
            return record.schedule.zone
    return None
