"""Read many requests page by page, so that memory does not grow with their number."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from tasks.ledger.ledger import Ledger
from tasks.ledger.overview import parsed_lines

PAGE = 200


async def newest_first(
    ledger: Ledger,
    index: str,
    *,
    since: int | None = None,
    page: int = PAGE,
    start: tuple[int, Sequence[str]] | None = None,
) -> AsyncIterator[list[str]]:
    """Yield pages of the members of the sorted set `index`, highest score first, down to `since`.

    `start`: a score, and those of its members that are known already.

    Continues from the last score, not from a rank: members that are added or removed meanwhile move no other
    to another page. A member that stays is yielded once.
    """
    highest: float | str = "+inf" if start is None else start[0]
    yielded: set[str] = set() if start is None else set(start[1])
    while True:
        rows = cast(
            "list[tuple[str, float]]",
            await ledger.redis.zrange(
                index,
                cast("Any", highest),
                cast("Any", "-inf" if since is None else since),
                desc=True,
                withscores=True,
                byscore=True,
                offset=0,
                num=page + len(yielded),
            ),
        )
        fresh = [(str(member), score) for member, score in rows if member not in yielded]
        if not fresh:
            return
        yield [member for member, _ in fresh]
        lowest = fresh[-1][1]
        at_lowest = {member for member, score in fresh if score == lowest}
        # Of the members at the first score of the next page, these have been yielded.
        yielded = yielded | at_lowest if lowest == highest else at_lowest
        highest = lowest


async def histories(ledger: Ledger, request_ids: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Return the lines of each request's history, oldest first."""
    async with ledger.redis.pipeline(transaction=False) as pipe:
        for request_id in request_ids:
            pipe.lrange(ledger.keys.history(request_id), 0, -1)
        found = await pipe.execute()
    return [parsed_lines(lines) for lines in found]
