"""One look at a zone's operation log, for all jobs that run there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tasks.ehpc.actions import PAGE
from tasks.ehpc.models import JobStatus, OperationPage, OperationRow
from tasks.ehpc.paging import LogPlace, pages_of
from tasks.handlers.context import Machinery
from tasks.handlers.provider_calls import counted, moment, reserve
from tasks.ledger.records import Zone
from tasks.quota.rate_limiter import CallClass, Grant

START_MARGIN_MS = 5_000
SINGLE_LOOKUPS = 20
PAGES_AT_ONCE = 8
MOST_ODD = 100

Running = Mapping[str, tuple[str, int]]


@dataclass(slots=True)
class Look:
    """What one look at a zone has shown of its running jobs, and how many calls it took.

    `pages` of the listing and single `look_ups`. Of thousands of jobs that go on only the ids are kept.
    `odd`: rows that are not as the API describes them. `needed`: how many pages it takes to see all, as far
    as the listing has shown how long it is. `rows` of the listing and of a page as the last look has found
    them: the provider may give fewer than asked for. `after_failure`: the last look has failed, so that the
    first page is read alone, lest a hundred fail. `begins_at`: the row at which the last look was broken off
    for want of calls; what it had seen till then counts as `seen`, and so do jobs that were made since.
    `reached`: how far this one has come, 0 if it has come to its end.
    """

    job_action: str
    rows: int = 0
    page_rows: int = PAGE
    after_failure: bool = False
    begins_at: int = 0
    reached: int = 0
    seen: set[str] = field(default_factory=set)
    ended: list[OperationRow] = field(default_factory=list)
    odd: list[OperationRow] = field(default_factory=list)
    shows_our_action: bool = False
    pages: int = 0
    look_ups: int = 0
    needed: int = 0
    cut_short: bool = False

    def __post_init__(self) -> None:
        self.reached = self.begins_at

    @property
    def pages_of_all(self) -> int:
        """How many pages a look from the first row on takes."""
        return pages_of(self.rows, self.page_rows) if self.begins_at else self.pages

    @property
    def calls(self) -> int:
        return self.pages_of_all + self.look_ups

    def unseen(self, running: Running) -> int:
        return len(running) - len(self.seen)

    def few_left(self, unseen: int, place: LogPlace) -> bool:
        """Whether looking up singly what has not been seen yet takes fewer calls than reading on."""
        return place.begun and unseen <= min(SINGLE_LOOKUPS, place.pages_left - 1)

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


async def list_running(m: Machinery, zone: str, running: Running, look: Look, expected: int) -> None:
    """Newest first, from the oldest running job on, until all are seen, or a few are looked up sooner singly.

    The pages that are likely to be needed, `expected` by the last look, are reserved together before the
    first is read, so that few listings are broken off half-way. Raises MustWait if one is, because it takes
    more than that and the quota has no room: then `look.needed` says how many to expect, and the next look
    goes on from `look.reached`, or what is behind would never be seen while submissions wait for calls. What
    is made meanwhile only moves rows on, so that none is passed over.
    """
    since = moment(min(sent_at for _, sent_at in running.values()) - START_MARGIN_MS)
    # What nothing else is granted: more would never be free at once while others wait.
    at_most = m.governor.kept_for_following
    place = LogPlace(look.page_rows, look.rows, look.page_rows, offset=look.begins_at)
    while (unseen := look.unseen(running)) and place.pages_left and not look.few_left(unseen, place):
        likely = min(max(place.pages_for(unseen), expected if not look.begins_at else 0), at_most)
        expected = 0
        lasting_s = -(-likely // PAGES_AT_ONCE) * m.settings.http_timeout_s + m.settings.http_timeout_s
        grant = await reserve(m, CallClass.FOLLOW, likely, lasting_s=lasting_s)
        calls = list(grant.calls)
        try:
            while calls and (unseen := look.unseen(running)) and place.pages_left:
                if look.few_left(unseen, place):
                    break
                alone = (look.after_failure or grant.probe) and not place.begun
                number = 1 if alone else min(place.pages_for(unseen), len(calls))
                offsets = place.offsets(number, unseen)
                batch, calls = calls[:number], calls[number:]
                look.pages += number
                granted = replace(grant, calls=tuple(batch))
                await _read(m, zone, since, offsets, granted, running, look, place)
                look.needed = look.pages + place.pages_left
                look.reached = place.offset
        finally:
            await m.governor.unused(calls)
    look.cut_short = bool(look.unseen(running)) and place.pages_left > 0
    look.reached = 0


async def _read(
    m: Machinery,
    zone: str,
    since: datetime,
    offsets: Sequence[int],
    grant: Grant,
    running: Running,
    look: Look,
    place: LogPlace,
) -> None:
    """Several pages at a time. Raises the first error once all have been read."""
    limit = asyncio.Semaphore(PAGES_AT_ONCE)

    async def read(offset: int, call: str) -> OperationPage:
        async with limit:
            page = await _page(m, zone, since, offset, grant, call)
            look.take(page, running)
            return page

    reading = (read(offset, call) for offset, call in zip(offsets, grant.calls, strict=True))
    first, *rest = await asyncio.gather(*reading, return_exceptions=True)
    for result in (first, *rest):
        if isinstance(result, BaseException):
            raise result
    assert not isinstance(first, BaseException)  # noqa: S101 - raised above
    place.has_read(offsets, len(first.rows), first.total_count)
    look.rows, look.page_rows = first.total_count, place.known_size


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
    """Single look-ups for jobs that the listings have not shown for longer than the log's lag, and for the
    few for which a listing was not read to its end.

    Gives the jobs that are still missing, by since when (ms).
    """
    now = m.clock.now_ms()
    lag_ms = round(m.settings.log_lag_s * 1000)
    missing = {job_id: record.missing.get(job_id, now) for job_id in running if job_id not in look.seen}
    overdue = [job_id for job_id, since in missing.items() if look.cut_short or now - since > lag_ms]
    # By chance, so that of very many each has its turn.
    for job_id in m.rng.sample(overdue, min(SINGLE_LOOKUPS, len(overdue))):
        grant = await reserve(m, CallClass.FOLLOW)
        look.look_ups += 1
        answer = m.api.list_operations(
            zone, job_ids=job_id, offset=0, newest_first=True, at=moment(m.clock.now_ms())
        )
        look.take(await counted(m, grant, grant.calls[0], answer), {job_id: running[job_id]})
        if job_id in look.seen:
            del missing[job_id]
    return missing
