"""Reads many requests, page by page, so that memory does not grow with how many there are."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from tasks.ledger.ledger import Ledger

PAGE = 200


async def newest_first(
    ledger: Ledger, index: str, *, since: int | None = None, page: int = PAGE
) -> AsyncIterator[list[str]]:
    """Pages of the members of the sorted set `index` with a score of at least `since`, highest score first.

    Goes on from the last score, not from a rank: what is added or taken out meanwhile moves nothing to
    another page. A member that stays there is given once.
    """
    highest: float | str = "+inf"
    given: set[str] = set()
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
                num=page + len(given),
            ),
        )
        fresh = [(str(member), score) for member, score in rows if member not in given]
        if not fresh:
            return
        yield [member for member, _ in fresh]
        lowest = fresh[-1][1]
        at_lowest = {member for member, score in fresh if score == lowest}
        # Of those at the score that the next page begins with, these have been given.
        given = given | at_lowest if lowest == highest else at_lowest
        highest = lowest


async def histories(ledger: Ledger, request_ids: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The lines of each request's history, oldest first."""
    async with ledger.redis.pipeline(transaction=False) as pipe:
        for request_id in request_ids:
            pipe.lrange(ledger.keys.history(request_id), 0, -1)
        found = await pipe.execute()
    return [[json.loads(line) for line in lines] for lines in found]
