"""One poll of a zone's operation log, for all jobs that run there."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from config.timestamps import utc_second
from tasks.ehpc.actions import PAGE
from tasks.ehpc.job_status import JobStatus
from tasks.ehpc.models import JobPage, JobRow
from tasks.ehpc.paging import PageCursor, pages_of
from tasks.handlers.context import Context
from tasks.handlers.provider_calls import call_with_grant, reserve
from tasks.ledger.records import Zone
from tasks.quota.priorities import CallPriority
from tasks.quota.rate_limiter import Grant

START_MARGIN_MS = 5_000
MAX_LOOKUPS = 20
PAGES_AT_ONCE = 8
MAX_ODD = 100

Running = Mapping[str, tuple[str, int]]


@dataclass(slots=True)
class Poll:
    """What one poll has shown of a zone's running jobs, and how many calls it took.

    Of thousands of jobs that still run only the ids are kept.

    Fields:
        rows, page_rows: rows of the listing and of a page; the provider may give fewer than requested.
        after_failure: the last poll has failed, so one page is read first, or a hundred would fail.
        start_offset: the row at which the last poll ran out of calls; what it had seen counts as `seen`, and
            so do jobs that were made since.
        next_offset: where the next poll resumes, 0 if this one reached the end.
        odd: rows that are not as the API describes them.
        unreadable: rows without a usable job id.
        unclear: jobs that have a status which is unknown.
        pages, lookups: calls for pages of the listing and for single jobs.
        needed: how many pages show all jobs, as far as the listing has shown its length.
    """

    job_action: str
    rows: int = 0
    page_rows: int = PAGE
    after_failure: bool = False
    start_offset: int = 0
    next_offset: int = 0
    seen: set[str] = field(default_factory=set)
    ended: list[JobRow] = field(default_factory=list)
    odd: list[JobRow] = field(default_factory=list)
    unreadable: int = 0
    unclear: list[JobRow] = field(default_factory=list)
    shows_our_action: bool = False
    pages: int = 0
    lookups: int = 0
    needed: int = 0
    cut_short: bool = False

    def __post_init__(self) -> None:
        self.next_offset = self.start_offset

    @property
    def pages_of_all(self) -> int:
        """How many pages a poll from the first row on takes."""
        return pages_of(self.rows, self.page_rows) if self.start_offset else self.pages

    @property
    def calls(self) -> int:
        return self.pages_of_all + self.lookups

    def unseen(self, running: Running) -> int:
        return len(running) - len(self.seen)

    def few_left(self, unseen: int, cursor: PageCursor) -> bool:
        """Return whether single lookups of the jobs not seen yet take fewer calls than further pages."""
        return cursor.begun and unseen <= min(MAX_LOOKUPS, cursor.pages_left - 1)

    def add(self, page: JobPage, running: Running) -> None:
        self.unreadable += page.unreadable
        for row in page.rows:
            # Whose job it is does not matter: it shows that the log has this name for addNodes.
            self.shows_our_action = self.shows_our_action or row.job_action == self.job_action
            if row.job_id not in running or row.job_id in self.seen:
                continue
            self.seen.add(row.job_id)
            if row.status is not JobStatus.PENDING:
                self.ended.append(row)
            if not row.status_is_known:
                self.unclear.append(row)
            is_ours = row.job_action == self.job_action
            if not (is_ours and row.status_is_known) and len(self.odd) < MAX_ODD:
                self.odd.append(row)


async def list_running(ctx: Context, zone: str, running: Running, poll: Poll, expected: int) -> None:
    """List jobs, newest first, back to the oldest running one, until all are seen or lookups are cheaper.

    The pages that are probably needed (`expected` by the last poll) are reserved together before the first is
    read, so that few listings are cut short. What is made meanwhile only moves rows on, so none is missed.

    Raises:
        Deferred: the listing takes more pages and the quota has no room. `poll.needed` says how many to
            expect, and the next poll resumes at `poll.next_offset`: otherwise the rows behind it would never
            be read while submissions wait for calls.
        EhpcError: a page has no usable reply.
    """
    since = utc_second(min(sent_at for _, sent_at in running.values()) - START_MARGIN_MS)
    # What no other priority is granted: more would never be free at once while others wait.
    at_most = ctx.rate_limiter.reserved_for_polling
    timeout_s = ctx.settings.http_timeout_s
    cursor = PageCursor(poll.page_rows, poll.rows, poll.page_rows, offset=poll.start_offset)
    while (unseen := poll.unseen(running)) and cursor.pages_left and not poll.few_left(unseen, cursor):
        probable = min(max(cursor.pages_for(unseen), 0 if poll.start_offset else expected), at_most)
        expected = 0
        lasting_s = (-(-probable // PAGES_AT_ONCE) + 1) * timeout_s
        grant = await reserve(ctx, CallPriority.POLL, probable, lasting_s=lasting_s)
        calls = list(grant.calls)
        try:
            while calls and (unseen := poll.unseen(running)) and cursor.pages_left:
                if poll.few_left(unseen, cursor):
                    break
                single = (poll.after_failure or grant.probe) and not cursor.begun
                number = 1 if single else min(cursor.pages_for(unseen), len(calls))
                offsets = cursor.offsets(number, unseen)
                batch, calls = calls[:number], calls[number:]
                poll.pages += number
                granted = replace(grant, calls=tuple(batch))
                await _read(ctx, zone, since, offsets, granted, running, poll, cursor)
                poll.needed = poll.pages + cursor.pages_left
                poll.next_offset = cursor.offset
        finally:
            await ctx.rate_limiter.release(calls)
    poll.cut_short = bool(poll.unseen(running)) and cursor.pages_left > 0
    poll.next_offset = 0


async def _read(
    ctx: Context,
    zone: str,
    since: datetime,
    offsets: Sequence[int],
    grant: Grant,
    running: Running,
    poll: Poll,
    cursor: PageCursor,
) -> None:
    """Read several pages at a time. Raises the first error once all have been read."""
    limit = asyncio.Semaphore(PAGES_AT_ONCE)

    async def read(offset: int, call: str) -> JobPage:
        async with limit:
            at = utc_second(ctx.clock.now_ms())
            request = ctx.api.list_jobs(zone, start_time=since, offset=offset, newest_first=True, at=at)
            page = await call_with_grant(ctx, grant, call, request)
            poll.add(page, running)
            return page

    reading = (read(offset, call) for offset, call in zip(offsets, grant.calls, strict=True))
    first, *rest = await asyncio.gather(*reading, return_exceptions=True)
    for result in (first, *rest):
        if isinstance(result, BaseException):
            raise result
    assert not isinstance(first, BaseException)  # noqa: S101 - raised above
    cursor.advance(offsets, first.row_count, first.total)
    poll.rows, poll.page_rows = cursor.total or 0, cursor.known_size


async def look_up_missing(
    ctx: Context, zone: str, running: Running, record: Zone, poll: Poll
) -> dict[str, int]:
    """Look up single jobs that listings have not shown for a lag, or that a listing cut short did not reach.

    Returns the jobs that are still missing, by since when (ms).
    """
    now = ctx.clock.now_ms()
    lag_ms = round(ctx.settings.log_lag_s * 1000)
    unseen = [job_id for job_id in running if job_id not in poll.seen]
    missing = {job_id: min(now, record.missing.get(job_id, now)) for job_id in unseen}
    overdue = [job_id for job_id, since in missing.items() if poll.cut_short or now - since > lag_ms]
    # At random, so that each of very many has its turn.
    for job_id in ctx.rng.sample(overdue, min(MAX_LOOKUPS, len(overdue))):
        grant = await reserve(ctx, CallPriority.POLL)
        poll.lookups += 1
        at = utc_second(ctx.clock.now_ms())
        request = ctx.api.list_jobs(zone, job_ids=job_id, offset=0, newest_first=True, at=at)
        page = await call_with_grant(ctx, grant, grant.calls[0], request)
        poll.add(page, {job_id: running[job_id]})
        if job_id in poll.seen:
            del missing[job_id]
    return missing
