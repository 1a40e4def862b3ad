"""The requests of a ledger, with what each waits for."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tasks.ledger.ended_index import narrowest_index
from tasks.ledger.history_pages import newest_first
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Request
from tasks.views.history import HistoryFilter
from tasks.views.read_status import read_documents

COUNTED = 2_000  # of those that have not ended; beyond, what matches is not counted


@dataclass(frozen=True, slots=True)
class RequestList:
    """Status documents; `matching`: how many there are in all, None if there are more than were counted."""

    rows: list[dict[str, Any]]
    matching: int | None


async def read_list(ledger: Ledger, wanted: HistoryFilter, *, ended: bool, limit: int) -> RequestList:
    """Return the first `limit` requests that match: those that have not ended, the oldest first, or those
    that have, the latest end first.
    """
    chosen: list[Request] = []
    matching = looked_at = 0
    async for request in _ended(ledger, wanted) if ended else _open(ledger, wanted):
        looked_at += 1
        if not wanted.matches(request):
            continue
        matching += 1
        if matching <= limit:
            chosen.append(request)
        elif not ended and wanted == HistoryFilter():
            return RequestList(await read_documents(ledger, chosen), await ledger.overview.open_count())
        elif ended or looked_at > COUNTED:
            return RequestList(await read_documents(ledger, chosen), None)
    return RequestList(await read_documents(ledger, chosen), matching)


async def _open(ledger: Ledger, wanted: HistoryFilter) -> AsyncIterator[Request]:
    if wanted.cluster_id is None:
        async for request in ledger.overview.open_records():
            yield request
    else:
        for request in await ledger.overview.open_of_cluster(wanted.cluster_id):
            yield request


async def _ended(ledger: Ledger, wanted: HistoryFilter) -> AsyncIterator[Request]:
    index = await narrowest_index(
        ledger, cluster_id=wanted.cluster_id, requested_by=wanted.requested_by, status=wanted.state
    )
    async for page in newest_first(ledger, index):
        found = await ledger.requests(page, readable_only=True)
        for name in page:
            if name in found:
                yield found[name]
