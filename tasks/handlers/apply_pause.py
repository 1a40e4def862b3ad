"""What workers do about pauses: park planned operations, lift what is over, log what operators did."""

from tasks.handlers.context import SKEW_RETRY_MS, Context
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine import pauses


async def park_while_paused(ctx: Context, snapshot: OperationSnapshot) -> bool:
    """Return whether a pause is in force; then the planned operation is parked until it ends.

    If the pause is lifted at the same time, nothing is parked and the operation's lease brings it up again.
    """
    now = ctx.clock.now_ms()
    pause = snapshot.pauses.in_force(now)
    if pause is None:
        return False
    operation = snapshot.operation
    changes = pauses.park(operation.due, snapshot.pauses, pause, now, operation)
    return await ctx.ledger.commit(changes) is CommitResult.OK


async def apply_pause(ctx: Context, scope: str) -> None:
    """Handle the due entry of a pause: it was made or lifted, or its time is over."""

    async def build() -> ChangeSet:
        record, now = await ctx.ledger.pause(scope), ctx.clock.now_ms()
        is_over = record.paused and not record.in_force(now)
        if is_over and not ctx.may_end_by_time:
            changes = ChangeSet(expected=[record])
            changes.schedule(record.due, now + SKEW_RETRY_MS)
            return changes
        return pauses.apply_due(record, now)

    await ctx.ledger.transact(build)
