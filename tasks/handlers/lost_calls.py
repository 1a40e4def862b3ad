"""After a restart or failover of Redis: find calls that the ledger has lost, before another is sent.

A replica that becomes the master may lack the last steps, and the workers that wrote them may have ended too.
The operation log still has the jobs.
"""

from collections.abc import Sequence

from tasks.ehpc.listing import Listing
from tasks.ehpc.models import JobRow
from tasks.ehpc.signature import MAX_SKEW_S
from tasks.handlers.context import Context
from tasks.handlers.decision_rules import rules_of
from tasks.handlers.provider_calls import Deferred
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event
from tasks.ledger.record_values import Reason
from tasks.ledger.records import Operation
from tasks.state_machine.decision import Rules

DATA_LOST_RETRY_MS = 10_000
DATA_LOST = Reason(
    kind="ledger",
    message="data is missing from the ledger: nothing is sent until "
    "`scaleout doctor --acknowledge-data-loss`",
)
SETTLING_RETRY_MS = 1_000
SETTLING = Reason(
    kind="ledger",
    message="the Redis server was restarted or replaced: nothing is sent until the operation log must show "
    "what was sent before",
)
# A cluster that nothing was sent to since then is checked for so long; later its requests have ended.
CHECKED_MS = 7 * 86_400_000
MARGIN_MS = round(MAX_SKEW_S * 1000) + 1_000


def blocked_by_ledger(ctx: Context) -> Deferred | None:
    """Return until when nothing is sent because the ledger lost data or its server has changed, or None."""
    ledger, now = ctx.ledger, ctx.clock.now_ms()
    if ledger.epoch.lost:
        return Deferred(now + DATA_LOST_RETRY_MS, DATA_LOST)
    change = ledger.server_change
    if change is not None and now < change.at + ledger.settle_ms:
        return Deferred(change.at + ledger.settle_ms, SETTLING)
    return None


def lost_calls_since(ctx: Context, cluster_id: str) -> int | None:
    """Return from when on (ms) the log may have a job of the cluster that the ledger has lost, or None.

    Once this process has seen that there is none, there is none: nothing was sent while that was unknown.
    """
    change = ctx.ledger.server_change
    if change is None or ctx.clock.now_ms() - change.at > CHECKED_MS:
        return None
    if ctx.checked_clusters.get(cluster_id) == change.at:
        return None
    return min(since for since, _ in change.windows) - MARGIN_MS


async def check_for_lost_calls(ctx: Context, operation: Operation, listing: Listing[JobRow]) -> None:
    """Mark the ledger as lost if the cluster has a job that may be ours and that no operation owns.

    A job that has marked it once does so no more: an operator has acknowledged it. Only one from the time
    around the change counts: before, the ledger has all; after it, nothing was sent. Our action's name is a
    guess, which the zone's log has to confirm before it excludes a job.

    Raises:
        Deferred: the ledger is marked now.
    """
    cluster_id = operation.cluster_id
    change = ctx.ledger.server_change
    if change is None or lost_calls_since(ctx, cluster_id) is None:
        return
    windows = [(since - MARGIN_MS, at + ctx.ledger.settle_ms) for since, at in change.windows]
    rules = await rules_of(ctx, operation.zone, listing.rows)
    found = [row.job_id for row in listing.rows if _may_be_ours(rules, row, windows)]
    owners = await ctx.ledger.job_owners(cluster_id, found)
    reported = await ctx.ledger.reported_jobs(found)
    unknown = [job_id for job_id in found if job_id not in owners and job_id not in reported]
    if not unknown:
        if not listing.flaws:
            ctx.checked_clusters[cluster_id] = change.at
        return
    changes = ChangeSet()
    fields = {"cluster_id": cluster_id, "job_ids": unknown}
    changes.record(Event("jobs_without_operation", "error", fields=fields, in_journal=True))
    await ctx.ledger.commit(changes)
    # After its reason: a worker that dies between the two finds the jobs again.
    await ctx.ledger.mark_data_lost()
    await ctx.ledger.report_jobs(unknown)
    raise Deferred(ctx.clock.now_ms() + DATA_LOST_RETRY_MS, DATA_LOST)


def _may_be_ours(rules: Rules, row: JobRow, windows: Sequence[tuple[int, int]]) -> bool:
    if rules.action_seen and row.job_action != rules.job_action:
        return False
    if row.create_time is None:
        return True
    created_at = row.create_time.timestamp() * 1000
    return any(since <= created_at <= until for since, until in windows)
