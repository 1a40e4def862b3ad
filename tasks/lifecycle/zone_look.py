"""One look at a zone's operation log, for all jobs that run there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tasks.ehpc.models import JobStatus, OperationPage, OperationRow
from tasks.ledger.records import Zone
from tasks.lifecycle.api_calls import PAGE, counted, moment, reserve
from tasks.lifecycle.machinery import Machinery
from tasks.quota.governor import CallClass, Grant

START_MARGIN_MS = 5_000
OVERLAP = 5  # rows; so many jobs may be made while a listing is read, and none is missed
SINGLE_LOOKUPS = 20
PAGES_AT_ONCE = 8
MOST_ODD = 100

Running = Mapping[str, tuple[str, int]]


@dataclass(slots=True)
class Look:
    """What one look at a zone has shown of its running jobs, and how many calls it took.

    Of thousands of jobs that go on only the ids are kept. `odd`: rows that are not as the API describes them.
    """

    job_action: str
    seen: set[str] = field(default_factory=set)
    ended: list[OperationRow] = field(default_factory=list)
    odd: list[OperationRow] = field(default_factory=list)
    shows_our_action: bool = False
    pages: int = 0

    def take(self, page: OperationPage, running: Running) -> None:
        for row in page.rows:
            if row.job_id not in running or row.job_id in self.seen:
                continue
            self.seen.add(row.job_id)
            if row.status is not JobStatus.PENDING:
                self.ended.append(row)
            is_ours = row.job_action == self.job_action
            self.shows_our_action = self.shows_our_action or is_ours
            if not (is_ours and row.status_is_known) and len(self.odd) < MOST_ODD:
                self.odd.append(row)


async def list_running(m: Machinery, zone: str, running: Running, look: Look) -> None:
    """Newest first, from the oldest running job on, until all are seen or the listing ends.

    The pages that are likely to be needed are reserved together before the first is read, so that a
    listing that has begun is not broken off half-way, to begin again with its first page.
    """
    since = moment(min(sent_at for _, sent_at in running.values()) - START_MARGIN_MS)
    at_most = max(1, m.governor.most(CallClass.FOLLOW) // 2)
    offset, total = 0, 1
    while offset < total and len(look.seen) < len(running):
        likely = min(_pages_for(len(running) - len(look.seen), PAGE), at_most)
        batches = 1 + -(-(likely - 1) // PAGES_AT_ONCE)
        lasting_s = batches * m.settings.http_timeout_s
        grant = await reserve(m, CallClass.FOLLOW, likely, lasting_s=lasting_s)
        made = 1
        try:
            first = await _page(m, zone, since, offset, grant, grant.calls[0])
            look.take(first, running)
            total, size = first.total_count, len(first.rows)
            if not size:
                return
            more = min(_pages_for(len(running) - len(look.seen), size), likely - 1)
            step = _step(size)
            rest = [place for number in range(1, more + 1) if (place := offset + number * step) < total]
            made += len(rest)
            await _rest(m, zone, since, rest, grant, running, look)
            offset += made * step
        finally:
            look.pages += made
            await m.governor.unused(grant.calls[made:])


def _step(page: int) -> int:
    """From one page to the next, by how many rows a page has: the provider may give fewer than asked for."""
    return page - OVERLAP if page > 2 * OVERLAP else page


def _pages_for(jobs: int, page: int) -> int:
    return max(0, -(-jobs // _step(page)))


async def _rest(
    m: Machinery,
    zone: str,
    since: datetime,
    offsets: Sequence[int],
    grant: Grant,
    running: Running,
    look: Look,
) -> None:
    """The pages after the first, several at a time. Raises the first error once all have been read."""
    limit = asyncio.Semaphore(PAGES_AT_ONCE)

    async def read(offset: int, call: str) -> None:
        async with limit:
            look.take(await _page(m, zone, since, offset, grant, call), running)

    reading = (read(offset, call) for offset, call in zip(offsets, grant.calls[1:], strict=False))
    for result in await asyncio.gather(*reading, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _page(
    m: Machinery, zone: str, since: datetime, offset: int, grant: Grant, call: str
) -> OperationPage:
    answer = m.api.list_operations(
        zone, start_time=since, offset=offset, newest_first=True, at=moment(m.clock.now_ms())
    )
    return await counted(m, grant, call, answer)


async def look_up_missing(
    m: Machinery, zone: str, running: Running, record: Zone, look: Look
) -> dict[str, int]:
    """Single look-ups for jobs that the listings have not shown for longer than the log's lag.

    Gives the jobs that are still missing, by since when (ms).
    """
    now = m.clock.now_ms()
    lag_ms = round(m.settings.log_lag_s * 1000)
    missing = {job_id: record.missing.get(job_id, now) for job_id in running if job_id not in look.seen}
    overdue = [job_id for job_id, since in missing.items() if now - since > lag_ms]
    for job_id in overdue[:SINGLE_LOOKUPS]:
        grant = await reserve(m, CallClass.FOLLOW)
        answer = m.api.list_operations(
            zone, job_ids=job_id, offset=0, newest_first=True, at=moment(m.clock.now_ms())
        )
        look.take(await counted(m, grant, grant.calls[0], answer), {job_id: running[job_id]})
        if job_id in look.seen:
            del missing[job_id]
    return missing
