"""What clocks have to do with whether a call may be sent now."""

import structlog

from tasks.ehpc.signature import MAX_SKEW_S
from tasks.handlers.context import SKEW_RETRY_MS, Context
from tasks.handlers.provider_calls import Deferred
from tasks.ledger.record_values import Reason
from tasks.ledger.records import Operation
from tasks.state_machine.decision import MAX_SKEW_MS

log = structlog.get_logger(__name__)

CLOCK_JUST_SET = Reason(
    kind="clock",
    message="the Redis server's clock has just stepped, and the provider's agrees with it: nothing is sent "
    "until both have stayed so for a while",
)
TIME_UNCERTAIN = Reason(
    kind="clock",
    message="the deadlines have passed by this worker's clock, with which the provider's does not agree, or "
    "could not be compared yet",
)
CLOCK_SET = Reason(
    kind="clock",
    message="the worker's clock was set back while it listed the cluster's jobs: they are listed again",
)


def until_settled(ctx: Context, margin_ms: int) -> Deferred | None:
    """Return until when nothing is sent because this worker's clock has just followed a step, or None.

    The provider's has stepped with it, or so it seems, and both may step back. A call that is signed before
    and executed after that has a job that is older than all that a listing from the call on shows.

    Args:
        margin_ms: how late a job may appear after its call was sent.
    """
    left_ms = margin_ms + MAX_SKEW_MS - ctx.clock.since_step_ms()
    return Deferred(ctx.clock.now_ms() + left_ms, CLOCK_JUST_SET) if left_ms > 0 else None


def wait_while_clocks_differ(ctx: Context, operation: Operation) -> None:
    """Raise Deferred while the provider's clock and the Redis server's disagree."""
    skew_s = ctx.api.skew_s
    if skew_s is None or abs(skew_s) <= MAX_SKEW_S:
        return
    message = (
        f"the provider's clock is {skew_s:+.1f} s from the Redis server's, more than {MAX_SKEW_S:g} s: "
        "nothing is sent until they agree"
    )
    log.error("clock_skew", operation_id=operation.operation_id, skew_s=round(skew_s, 1))
    raise Deferred(ctx.clock.now_ms() + SKEW_RETRY_MS, Reason(kind="clock", message=message))
