"""The requests of a ledger, with what each waits for."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tasks.ledger.history_pages import newest_first
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Request
from tasks.views.history import HistoryFilter
from tasks.views.read_status import read_documents


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
    matching = 0
    async for request in _ended(ledger) if ended else ledger.overview.open_records():
        if not wanted.matches(request):
            continue
        matching += 1
        if matching <= limit:
            chosen.append(request)
        elif ended:
            # What has ended may be any number; what has not is soon counted.
            return RequestList(await read_documents(ledger, chosen), None)
    return RequestList(await read_documents(ledger, chosen), matching)


async def _ended(ledger: Ledger) -> AsyncIterator[Request]:
    async for page in newest_first(ledger, ledger.keys.ended):
        found = await ledger.requests(page, readable_only=True)
        for name in page:
            if name in found:
                yield found[name]
