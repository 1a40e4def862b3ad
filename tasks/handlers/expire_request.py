"""Ends a request at its deadline."""

from tasks.handlers.context import SKEW_RETRY_MS, Context
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.due import Due
from tasks.state_machine import pauses, request_outcome


async def expire_request(ctx: Context, due: Due) -> None:
    """Handle the due entry of a request: end it if its deadline has passed."""

    async def build() -> ChangeSet:
        request, now = await ctx.ledger.request(due.name), ctx.clock.now_ms()
        changes = ChangeSet()
        if request is None or request.ended:
            changes.schedule(due, None)
        elif request.deadline_at > now:
            changes.schedule(due, request.deadline_at)
        elif not ctx.may_end_by_time:
            changes.schedule(due, now + SKEW_RETRY_MS)
        else:
            pause = (await ctx.ledger.pauses(request.valid_spec.cluster_id)).in_force(now)
            during = None if pause is None else pauses.describe(pause)
            request_outcome.expire_request(changes, request, now, during=during)
        return changes

    await ctx.ledger.transact(build)
