"""Every call to the provider: granted by the rate limiter, counted, and what it shows of the account kept."""

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from redis.exceptions import RedisError

from config.timestamps import utc_second
from tasks.ehpc.errors import AccountRefused, EhpcError, QuotaExhausted
from tasks.ehpc.models import JobRow, NodeRow
from tasks.handlers.context import Context
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event
from tasks.ledger.record_values import Reason
from tasks.ledger.records import Account
from tasks.quota.priorities import CallPriority
from tasks.quota.rate_limiter import EXHAUSTED, Denied, Grant
from tasks.state_machine.backoff import MAX_S
from tasks.state_machine.refusal import account_blocked, block_account, reason_of

log = structlog.get_logger(__name__)

CLUSTER_PREFIXES = ("ehpc-", "hpc-")
MAX_QUOTA_WAIT_MS = 30_000

T = TypeVar("T")


class Deferred(Exception):  # noqa: N818 - named by what the caller does next
    """No answer now: try again at `until` (ms), for `reason`."""

    def __init__(self, until: int, reason: Reason) -> None:
        self.until = until
        self.reason = reason
        super().__init__(reason.message)


async def reserve(
    ctx: Context, priority: CallPriority, calls: int = 1, *, lasting_s: float | None = None
) -> Grant:
    """Reserve `calls` calls, all or none.

    Args:
        lasting_s: when the last of them has ended at the latest, in seconds from now; by default one timeout.

    Raises:
        Deferred: the quota has no room for them.
    """
    answer = await ctx.rate_limiter.reserve(priority, calls, lasting_s=lasting_s)
    if isinstance(answer, Denied):
        raise Deferred(answer.until_ms, Reason(kind="quota", message=EXHAUSTED))
    return answer


def quota_retry_at(ctx: Context, deferred: Deferred) -> int:
    """Return when to try the quota again (ms): others may release calls before the window moves on."""
    return min(deferred.until, ctx.clock.now_ms() + MAX_QUOTA_WAIT_MS)


async def call_with_grant(ctx: Context, grant: Grant, call: str, request: Coroutine[Any, Any, T]) -> T:
    """Make one granted call and count it from its end; keep what it shows of the quota.

    Raises:
        Deferred: the process was stopped for so long that the grant is over.
        EhpcError: the call has no usable reply.
    """
    now = ctx.clock.now_ms()
    if grant.until_ms is not None and now > grant.until_ms:
        request.close()
        with suppress(RedisError):
            await ctx.rate_limiter.release([call])
        raise Deferred(now, Reason(kind="quota", message="the call was granted too long ago"))
    try:
        reply = await request
    except QuotaExhausted as error:
        with suppress(RedisError):
            until = await ctx.rate_limiter.mark_exhausted(error.retry_after_s)
            log.warning("quota_exhausted", until=utc_second(until).isoformat(), detail=str(error))
        raise
    else:
        if grant.probe:
            with suppress(RedisError):
                await ctx.rate_limiter.clear_exhausted()
        return reply
    finally:
        ctx.rate_limiter.ended([call])


async def defer_after_error(
    ctx: Context, error: EhpcError, attempts: int, *, max_s: float = MAX_S
) -> Deferred:
    """Return when to repeat a read call that failed, at most `max_s` from now.

    A blocked account is recorded for all workers, and waits longer.
    """
    reason = reason_of(error)
    until = ctx.clock.now_ms() + ctx.backoff.wait_ms(attempts + 1, max_s=max_s)
    if isinstance(error, AccountRefused):
        until = max(until, await _block_account(ctx, reason))
    return Deferred(until, reason)


async def _block_account(ctx: Context, reason: Reason) -> int:
    until = 0

    async def build() -> ChangeSet:
        nonlocal until
        account = await ctx.ledger.account()
        blocked = block_account(account, reason, ctx.clock.now_ms(), ctx.backoff)
        until = blocked.not_before
        changes = ChangeSet()
        changes.write(blocked)
        changes.record(account_blocked(account, reason))
        return changes

    await ctx.ledger.transact(build)
    return until


async def restore_account(ctx: Context, known: Account) -> None:
    """Record that the provider has accepted a signed call, if the account was `known` to be blocked."""
    if known.blocked_since is None:
        return
    account = await ctx.ledger.account()
    changes = ChangeSet()
    update = {"blocked_since": None, "not_before": 0, "consecutive_failures": 0, "reason": None}
    changes.write(account.model_copy(update=update))
    changes.record(Event("account_restored", in_journal=True))
    await ctx.ledger.commit(changes)


async def list_cluster_jobs(
    ctx: Context, zone: str, cluster_id: str, since: int, priority: CallPriority, grant: Grant
) -> list[JobRow]:
    """Return all of a cluster's jobs made at `since` (ms) or later; `grant` pays for the first page.

    Oldest first, so that jobs made meanwhile come at the end and move no row to another page. There is no
    filter by job_action: its name is a guess.

    Raises:
        EhpcError: the listing is incomplete or contradicts itself.
        Deferred: the quota has no room for a page.
    """

    async def page(offset: int, paid: Grant) -> tuple[list[JobRow], int]:
        request = ctx.api.list_jobs(
            zone,
            start_time=utc_second(since),
            resource_ids=cluster_id,
            offset=offset,
            newest_first=False,
            at=utc_second(ctx.clock.now_ms()),
        )
        found = await call_with_grant(ctx, paid, paid.calls[0], request)
        return list(found.rows), found.total_count

    rows = await _all_pages(ctx, priority, grant, page)
    if len({row.job_id for row in rows}) < len(rows):
        raise EhpcError("the listing shows a job twice, so that another may be missing")
    return [row for row in rows if _may_concern(cluster_id, row)]


def _may_concern(cluster_id: str, row: JobRow) -> bool:
    """The provider filters by resource_ids; should it not, rows that name another cluster are dropped."""
    clusters = [name for name in row.resource_ids if name.startswith(CLUSTER_PREFIXES)]
    return not clusters or cluster_id in clusters


async def list_cluster_nodes(
    ctx: Context, zone: str, cluster_id: str, priority: CallPriority = CallPriority.POLL
) -> list[NodeRow]:
    """Return all nodes of a cluster. Raises EhpcError or Deferred."""

    async def page(offset: int, paid: Grant) -> tuple[list[NodeRow], int]:
        request = ctx.api.list_nodes(zone, cluster_id, offset=offset, at=utc_second(ctx.clock.now_ms()))
        found = await call_with_grant(ctx, paid, paid.calls[0], request)
        return list(found.rows), found.total_count

    return await _all_pages(ctx, priority, await reserve(ctx, priority), page)


async def _all_pages(
    ctx: Context,
    priority: CallPriority,
    grant: Grant,
    page: Callable[[int, Grant], Awaitable[tuple[list[T], int]]],
) -> list[T]:
    rows, total = await page(0, grant)
    while len(rows) < total:
        more, total = await page(len(rows), await reserve(ctx, priority))
        if not more:
            raise EhpcError(f"the listing ended after {len(rows)} of {total} rows")
        rows += more
    return rows
