"""Every call to the provider goes through here: granted by the quota, counted, and its refusals noted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from redis.exceptions import RedisError

from tasks.ehpc.errors import AccountRefused, EhpcError, QuotaExhausted
from tasks.ehpc.models import NodeRow, OperationRow
from tasks.handlers.context import Machinery
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.records import Account, Refusal
from tasks.quota.rate_limiter import USED_UP, CallClass, Grant, Wait
from tasks.state_machine.backoff import MOST_S, backoff_ms
from tasks.state_machine.refusal import account_refused, pause_account

log = structlog.get_logger(__name__)

CLUSTER_PREFIXES = ("ehpc-", "hpc-")
MOST_REST_MS = 30_000

T = TypeVar("T")


class MustWait(Exception):  # noqa: N818 - named by what the caller does next
    """No answer now; look again at `until` (ms). `refusal` says what is waited for."""

    def __init__(self, until: int, refusal: Refusal) -> None:
        self.until = until
        self.refusal = refusal
        super().__init__(refusal.message)


async def reserve(
    m: Machinery, call_class: CallClass, calls: int = 1, *, lasting_s: float | None = None
) -> Grant:
    """Raises MustWait if the quota has no room for `calls` calls of this class.

    `lasting_s`: when the last of them has ended at the latest, if they are not all made at once.
    """
    answer = await m.governor.reserve(call_class, calls, lasting_s=lasting_s)
    if isinstance(answer, Wait):
        raise MustWait(answer.until_ms, Refusal(kind="quota", message=USED_UP))
    return answer


def ask_again_at(m: Machinery, wait: MustWait) -> int:
    """When the quota is worth another question, ms: others may give calls back before the window moves on."""
    return min(wait.until, m.clock.now_ms() + MOST_REST_MS)


async def counted(m: Machinery, grant: Grant, call: str, answer: Coroutine[Any, Any, T]) -> T:
    """Make one granted call and count it from its end; what it says of the quota is noted.

    Raises MustWait if the process has been stopped for so long that the grant is over.
    """
    now = m.clock.now_ms()
    if grant.until_ms is not None and now > grant.until_ms:
        answer.close()
        with suppress(RedisError):
            await m.governor.unused([call])
        raise MustWait(now, Refusal(kind="quota", message="the call was granted too long ago"))
    try:
        reply = await answer
    except QuotaExhausted as error:
        with suppress(RedisError):
            until = await m.governor.window_is_full(error.retry_after_s)
            log.warning("quota_exhausted", until=moment(until).isoformat(), detail=str(error))
        raise
    else:
        if grant.probe:
            with suppress(RedisError):
                await m.governor.window_is_open()
        return reply
    finally:
        m.governor.ended([call])


async def read_refused(m: Machinery, error: EhpcError, tries: int, *, most_s: float = MOST_S) -> MustWait:
    """A read call was refused: when to try again, `most_s` from now at the latest.

    A refused account is noted for all, and waits for longer.
    """
    refusal = Refusal(kind=error.kind, message=str(error), code=error.ret_code)
    now = m.clock.now_ms()
    until = now + backoff_ms(tries + 1, m.settings.retry_backoff_s, m.rng, most_s=most_s)
    if isinstance(error, AccountRefused):
        until = max(until, await _pause(m, refusal))
    return MustWait(until, refusal)


async def _pause(m: Machinery, refusal: Refusal) -> int:
    until = 0

    async def build() -> Changes:
        nonlocal until
        account = await m.ledger.account()
        paused = pause_account(account, refusal, m.clock.now_ms(), m.waiting)
        until = paused.not_before
        changes = Changes()
        changes.put(paused)
        changes.tell(account_refused(account, refusal))
        return changes

    await m.commit_current(build)
    return until


async def account_is_accepted(m: Machinery, known: Account) -> None:
    """The provider has answered a signed call: an account that was `known` to be refused is so no more."""
    if known.refused_since is None:
        return
    account = await m.ledger.account()
    changes = Changes()
    update = {"refused_since": None, "not_before": 0, "streak": 0, "refusal": None}
    changes.put(account.model_copy(update=update))
    changes.tell(Event("account_accepted", noted=True))
    await m.commit(changes)


async def list_cluster_jobs(
    m: Machinery, zone: str, cluster_id: str, since: int, call_class: CallClass, grant: Grant
) -> list[OperationRow]:
    """The complete listing of a cluster's jobs made at `since` (ms) or later; `grant` pays the first page.

    Oldest first, so that jobs made meanwhile come at the end and move no row to another page. No filter by
    job_action: its name is a guess. Raises EhpcError, or MustWait if the quota has no room for a page.
    """

    async def page(offset: int, paid: Grant) -> tuple[list[OperationRow], int]:
        call = m.api.list_operations(
            zone,
            start_time=moment(since),
            resource_ids=cluster_id,
            offset=offset,
            newest_first=False,
            at=moment(m.clock.now_ms()),
        )
        found = await counted(m, paid, paid.calls[0], call)
        return list(found.rows), found.total_count

    rows = await _all_pages(m, call_class, grant, page)
    if len({row.job_id for row in rows}) < len(rows):
        raise EhpcError("the listing shows a job twice, so that another may be missing")
    return [row for row in rows if _may_concern(cluster_id, row)]


def _may_concern(cluster_id: str, row: OperationRow) -> bool:
    """The provider filters by resource_ids; should it not, only what names another cluster is left out."""
    clusters = [name for name in row.resource_ids if name.startswith(CLUSTER_PREFIXES)]
    return not clusters or cluster_id in clusters


async def list_cluster_nodes(
    m: Machinery, zone: str, cluster_id: str, call_class: CallClass = CallClass.FOLLOW
) -> list[NodeRow]:
    """All nodes of a cluster. Raises EhpcError or MustWait."""

    async def page(offset: int, paid: Grant) -> tuple[list[NodeRow], int]:
        call = m.api.list_nodes(zone, cluster_id, offset=offset, at=moment(m.clock.now_ms()))
        found = await counted(m, paid, paid.calls[0], call)
        return list(found.rows), found.total_count

    return await _all_pages(m, call_class, await reserve(m, call_class), page)


async def _all_pages(
    m: Machinery,
    call_class: CallClass,
    grant: Grant,
    page: Callable[[int, Grant], Awaitable[tuple[list[T], int]]],
) -> list[T]:
    rows, total = await page(0, grant)
    while len(rows) < total:
        more, total = await page(len(rows), await reserve(m, call_class))
        if not more:
            message = f"the listing ended after {len(rows)} of {total} rows"
            raise EhpcError(message)
        rows += more
    return rows


def moment(ms: int) -> datetime:
    """`ms` since 1970 as a UTC time of a whole second, as the API takes it."""
    return datetime.fromtimestamp(ms // 1000, UTC)
