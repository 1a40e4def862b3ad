"""What decisions about the jobs of a zone rest on, by the settings and by what its log has shown."""

from collections.abc import Sequence

from tasks.ehpc.models import JobRow
from tasks.handlers.context import Context
from tasks.handlers.provider_calls import list_newest_jobs
from tasks.quota.priorities import CallPriority
from tasks.state_machine.decision import Rules


async def rules_of(ctx: Context, zone: str, rows: Sequence[JobRow], *, action_seen: bool = False) -> Rules:
    """Return what decisions in a zone rest on. `rows`: of its log, read just now."""
    settings = ctx.settings
    shown = any(row.job_action == settings.add_nodes_job_action for row in rows)
    action_seen = shown or action_seen or (await ctx.ledger.zone(zone)).action_seen
    return Rules(
        signature_ttl_ms=round(settings.signature_ttl_s * 1000),
        http_timeout_ms=round(settings.http_timeout_s * 1000),
        lag_ms=round(settings.log_lag_s * 1000),
        poll_ms=round(settings.poll_interval_s * 1000),
        job_action=settings.add_nodes_job_action,
        action_seen=action_seen,
    )


async def shows_our_action(ctx: Context, zone: str) -> bool:
    """Return whether the newest jobs of the zone include one under our action name."""
    page = await list_newest_jobs(ctx, zone, CallPriority.RECONCILE)
    return any(row.job_action == ctx.settings.add_nodes_job_action for row in page.rows)
