"""Every call to the provider: granted by the rate limiter, counted, and what it shows of the account kept."""

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from redis.exceptions import RedisError

from config.timestamps import utc_second
from tasks.ehpc.errors import AccountRefused, EhpcError, NotAccepted, QuotaExhausted, Shortage, UnclearQuota
from tasks.ehpc.listing import Listing
from tasks.ehpc.models import JobPage, JobRow, NodePage, NodeRow, Page, R
from tasks.ehpc.signature import MAX_SKEW_S
from tasks.handlers.context import Context
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event
from tasks.ledger.record_values import Reason
from tasks.ledger.records import Account
from tasks.quota.priorities import CallPriority
from tasks.quota.rate_limiter import EXHAUSTED, Denied, Grant
from tasks.runtime.process_metrics import CALL_CLASS
from tasks.state_machine.backoff import MAX_S
from tasks.state_machine.refusal import account_blocked, block_account, reason_of

log = structlog.get_logger(__name__)

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


async def call_with_grant(
    ctx: Context, grant: Grant, call: str, request: Coroutine[Any, Any, T], *, sends: bool = False
) -> T:
    """Make one granted call and count it from its end; keep what it shows of the quota.

    Args:
        sends: the call is addNodes, which needs resources too: an unclear refusal does not show which are
            used up, and `which_quota` finds out.

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
    of_class = CALL_CLASS.set(grant.priority.name.lower())
    try:
        reply = await request
    except QuotaExhausted as error:
        # What it notes is noted by the time that this reply has shown.
        _learn_time(ctx)
        if not (sends and isinstance(error, UnclearQuota)):
            with suppress(RedisError):
                until = await ctx.rate_limiter.mark_exhausted(error.retry_after_s)
                log.warning("quota_exhausted", until=utc_second(until).isoformat(), detail=str(error))
        raise
    else:
        if ctx.api.skew_s is None:
            # It does not say its time, and takes no call that was signed at another one.
            ctx.ledger.prove_time()
        if grant.probe:
            with suppress(RedisError):
                await ctx.rate_limiter.clear_exhausted()
        return reply
    finally:
        CALL_CLASS.reset(of_class)
        ctx.rate_limiter.ended([call])
        _learn_time(ctx)


def _learn_time(ctx: Context) -> None:
    """Compare this process's clock with the provider's.

    It is set by the Redis server's if the provider agrees with that one, and not with ours.
    """
    skew_s, step_s = ctx.api.skew_s, ctx.clock.step_ms / 1000
    if skew_s is None:
        return
    if abs(skew_s) <= MAX_SKEW_S:
        ctx.ledger.prove_time()
    elif step_s and abs(skew_s - step_s) <= MAX_SKEW_S:
        ctx.clock.follow_step()
        ctx.ledger.prove_time()


async def which_quota(ctx: Context, zone: str, error: UnclearQuota) -> EhpcError:
    """Return which quota refused addNodes: a read that is granted shows that it was not the calls."""
    about: dict[str, Any] = {"ret_code": error.ret_code, "http_status": error.http_status}
    try:
        await list_newest_jobs(ctx, zone, CallPriority.SUBMIT, since=ctx.clock.now_ms())
    except QuotaExhausted:
        return error
    except (Deferred, EhpcError, RedisError, OSError) as failed:
        return NotAccepted(f"{error}; which quota it means could not be found out: {failed}", **about)
    return Shortage(f"{error}; API calls are granted, so it is the resources", **about)


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
        if account.blocked_since is None:
            # Each call that is refused from now on would say it again.
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


async def list_newest_jobs(
    ctx: Context, zone: str, priority: CallPriority, *, since: int | None = None
) -> JobPage:
    """Return the first page of a zone's operation log, the newest jobs first.

    Args:
        since: only of jobs that were made then (ms) or later.

    Raises:
        EhpcError: the page has no usable reply.
        Deferred: the quota has no room for it.
    """
    grant = await reserve(ctx, priority)
    request = ctx.api.list_jobs(
        zone,
        start_time=None if since is None else utc_second(since),
        offset=0,
        newest_first=True,
        at=utc_second(ctx.clock.now_ms()),
    )
    return await call_with_grant(ctx, grant, grant.calls[0], request)


async def list_cluster_jobs(
    ctx: Context, zone: str, cluster_id: str, since: int, priority: CallPriority, grant: Grant
) -> Listing[JobRow]:
    """List the jobs of a cluster that were made at `since` (ms) or later; `grant` pays for the first page.

    Oldest first, so that jobs made meanwhile come at the end and move no row to another page. There is no
    filter by job_action: its name is a guess. For reconciliation it is read to the empty page.

    Raises:
        EhpcError: a page has no usable reply.
        Deferred: the quota has no room for a page.
    """

    async def page(offset: int, paid: Grant) -> JobPage:
        request = ctx.api.list_jobs(
            zone,
            start_time=utc_second(since),
            resource_ids=cluster_id,
            offset=offset,
            newest_first=False,
            at=utc_second(ctx.clock.now_ms()),
        )
        return await call_with_grant(ctx, paid, paid.calls[0], request)

    listing = Listing[JobRow](to_the_empty_page=priority is CallPriority.RECONCILE)
    await _read_pages(ctx, priority, grant, page, listing, f"the operation log of cluster {cluster_id}")
    listing.rows = [row for row in listing.rows if _may_concern(cluster_id, row)]
    return listing


def _may_concern(cluster_id: str, row: JobRow) -> bool:
    """The provider filters by resource_ids; should it not, rows that name another cluster are dropped."""
    return not row.cluster_ids or cluster_id in row.cluster_ids


async def list_cluster_nodes(
    ctx: Context, zone: str, cluster_id: str, priority: CallPriority = CallPriority.POLL
) -> Listing[NodeRow]:
    """List the nodes of a cluster. Raises EhpcError or Deferred."""

    async def page(offset: int, paid: Grant) -> NodePage:
        request = ctx.api.list_nodes(zone, cluster_id, offset=offset, at=utc_second(ctx.clock.now_ms()))
        return await call_with_grant(ctx, paid, paid.calls[0], request)

    listing = Listing[NodeRow]()
    grant = await reserve(ctx, priority)
    await _read_pages(ctx, priority, grant, page, listing, f"the node list of cluster {cluster_id}")
    return listing


async def _read_pages(
    ctx: Context,
    priority: CallPriority,
    grant: Grant,
    read: Callable[[int, Grant], Awaitable[Page[R]]],
    listing: Listing[R],
    what: str,
) -> None:
    listing.add(await read(0, grant))
    while not listing.complete:
        listing.add(await read(listing.offset, await reserve(ctx, priority)))
    if listing.flaws:
        await ctx.report_once("listing_flawed", what, listing=what, flaws=listing.flaws)
