"""After a restart or failover of Redis: find calls that the ledger has lost, before another is sent.

A replica that becomes the master may lack the last steps, and the workers that wrote them may have ended too.
The operation log still has the jobs.
"""

from collections.abc import Sequence

from tasks.ehpc.models import JobRow
from tasks.ehpc.signature import MAX_SKEW_S
from tasks.handlers.context import Context
from tasks.handlers.provider_calls import Deferred
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event
from tasks.ledger.record_values import Reason
from tasks.ledger.records import Operation

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


def settling_of(ctx: Context) -> Deferred | None:
    """Return until when nothing is sent because the server has changed, or None."""
    change = ctx.ledger.server_change
    if change is None or ctx.clock.now_ms() >= change.at + ctx.ledger.settle_ms:
        return None
    return Deferred(change.at + ctx.ledger.settle_ms, SETTLING)


def lost_calls_since(ctx: Context) -> int | None:
    """Return from when on (ms) the log may have a job that the ledger has lost; None if it cannot."""
    change = ctx.ledger.server_change
    if change is None or ctx.clock.now_ms() - change.at > CHECKED_MS:
        return None
    return change.since - MARGIN_MS


async def check_for_lost_calls(ctx: Context, operation: Operation, rows: Sequence[JobRow]) -> None:
    """Mark the ledger as lost if the cluster has a job of our action that no operation owns.

    Only one from the time around the change counts: before, the ledger has all; after it, nothing was sent.

    Raises:
        Deferred: the ledger is marked now.
    """
    since, change = lost_calls_since(ctx), ctx.ledger.server_change
    if since is None or change is None:
        return
    until = change.at + ctx.ledger.settle_ms
    found = [row.job_id for row in rows if _may_be_ours(ctx, row, since, until)]
    owners = await ctx.ledger.job_owners(operation.cluster_id, found)
    unknown = [job_id for job_id in found if job_id not in owners]
    if not unknown:
        return
    await ctx.ledger.mark_data_lost()
    fields = {"cluster_id": operation.cluster_id, "job_ids": unknown}
    changes = ChangeSet()
    changes.record(Event("jobs_without_operation", "error", fields=fields, in_journal=True))
    await ctx.ledger.commit(changes)
    raise Deferred(ctx.clock.now_ms() + DATA_LOST_RETRY_MS, DATA_LOST)


def _may_be_ours(ctx: Context, row: JobRow, since: int, until: int) -> bool:
    if row.job_action != ctx.settings.add_nodes_job_action:
        return False
    return row.create_time is None or since <= row.create_time.timestamp() * 1000 <= until
