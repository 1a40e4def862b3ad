"""Find out what time it is, before anything is claimed or ended by it.

A process takes its time from the Redis server, whose clock may be wrong just after its machine has started.
"""

from contextlib import suppress

from tasks.ehpc.errors import EhpcError
from tasks.handlers.context import SKEW_RETRY_MS, Context
from tasks.handlers.provider_calls import Deferred, list_newest_jobs
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
            await list_newest_jobs(ctx, zone, CallPriority.POLL, since=ctx.clock.now_ms())
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
