"""Reading many requests page by page, on a real server."""

import pytest
import redis

from tasks.ledger.history_pages import histories, newest_first
from tasks.ledger.ledger import Ledger

# Records are written by hand here, ended without the step that gives them a time to live.
pytestmark = pytest.mark.permanent_keys("scaleout:request:*", "scaleout:operation:*", "scaleout:history:*")

INDEX = "scaleout:ended"


async def read(ledger: Ledger, *, since: int | None = None, page: int = 10) -> list[list[str]]:
    return [members async for members in newest_first(ledger, INDEX, since=since, page=page)]


async def test_every_member_comes_once_latest_first_in_pages(ledger: Ledger, server: redis.Redis) -> None:
    server.zadd(INDEX, {f"r-{number:02}": 1_000 + number for number in range(35)})

    pages = await read(ledger)

    assert [name for page in pages for name in page] == [f"r-{number:02}" for number in range(34, -1, -1)]
    assert max(map(len, pages)) <= 11


async def test_members_of_one_score_that_fill_more_than_a_page_all_come(
    ledger: Ledger, server: redis.Redis
) -> None:
    server.zadd(INDEX, {f"r-{number:02}": 1_000 for number in range(35)})
    server.zadd(INDEX, {"before": 999, "after": 1_001})

    names = [name for page in await read(ledger) for name in page]

    assert len(names) == len(set(names)) == 37
    assert (names[0], names[-1]) == ("after", "before")


async def test_what_was_before_since_is_left_out(ledger: Ledger, server: redis.Redis) -> None:
    server.zadd(INDEX, {"old": 999, "then": 1_000, "new": 1_001})

    assert await read(ledger, since=1_000) == [["new", "then"]]


async def test_what_comes_and_goes_meanwhile_moves_nothing_to_another_page(
    ledger: Ledger, server: redis.Redis
) -> None:
    server.zadd(INDEX, {f"r-{number:02}": 1_000 + number for number in range(30)})
    names: list[str] = []

    async for page in newest_first(ledger, INDEX, page=10):
        if not names:
            server.zadd(INDEX, {f"late-{number}": 2_000 for number in range(15)})
            server.zrem(INDEX, "r-29", "r-28", "r-05")
        names += page

    assert names == [f"r-{number:02}" for number in range(29, -1, -1) if number != 5]


async def test_an_empty_index_has_no_page(ledger: Ledger) -> None:
    assert await read(ledger) == []


async def test_histories_come_in_the_given_order_and_may_be_empty(
    ledger: Ledger, server: redis.Redis
) -> None:
    server.rpush("scaleout:history:a", '{"at": "1", "event": "x"}', '{"at": "2", "event": "y"}')

    found = await histories(ledger, ["none", "a"])

    assert [[line["event"] for line in lines] for lines in found] == [[], ["x", "y"]]
