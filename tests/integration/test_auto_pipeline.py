"""Concurrent commands go to the server as pipelines; each gets its own reply."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from tasks.runtime.auto_pipeline import CONNECTIONS, MAX_COMMANDS, AutoPipelineRedis
from tasks.runtime.redis_client import Script, open_redis
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

# Keys of its own, with any name.
pytestmark = pytest.mark.permanent_keys("*")


def reads(server: redis.Redis) -> int:
    return int(cast("Any", server.info("stats"))["total_reads_processed"])


async def test_a_hundred_commands_at_once_take_a_few_round_trips(
    async_redis: Redis, server: redis.Redis
) -> None:
    # Connections are made first, which takes commands of its own.
    await asyncio.gather(*(async_redis.incr("before") for _ in range(100)))
    before = reads(server)

    counts = await asyncio.gather(*(async_redis.incr("n") for _ in range(100)))

    assert sorted(counts) == list(range(1, 101))
    assert reads(server) - before <= CONNECTIONS + 100 // MAX_COMMANDS + 1


async def test_each_gets_its_own_answer_in_its_own_form(async_redis: Redis) -> None:
    await async_redis.zadd("scores", {"a": 1.5})
    await async_redis.hset("pairs", mapping={"k": "v"})

    answers = await asyncio.gather(
        async_redis.zrange("scores", 0, -1, withscores=True),
        async_redis.hgetall("pairs"),
        async_redis.exists("scores"),
        async_redis.get("nothing"),
        async_redis.time(),
        async_redis.smembers("nobody"),
    )

    assert answers[0] in ([("a", 1.5)], [["a", 1.5]])
    assert list(answers[1:4]) == [{"k": "v"}, 1, None]
    assert answers[4][0] > 1_700_000_000
    assert answers[5] == set()


async def test_an_error_goes_only_to_the_command_that_caused_it(async_redis: Redis) -> None:
    await async_redis.set("text", "abc")

    wrong, right = await asyncio.gather(
        async_redis.incr("text"), async_redis.incr("number"), return_exceptions=True
    )

    assert isinstance(wrong, ResponseError)
    assert right == 1


async def test_one_that_is_cancelled_costs_the_others_nothing(async_redis: Redis) -> None:
    asking = [asyncio.ensure_future(async_redis.incr("n")) for _ in range(20)]
    await asyncio.sleep(0)
    asking[3].cancel()

    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(answers[3], asyncio.CancelledError)
    assert all(isinstance(answer, int) for place, answer in enumerate(answers) if place != 3)
    assert await async_redis.get("after") is None


async def test_commands_issued_during_a_pipeline_are_not_forgotten(async_redis: Redis) -> None:
    async def one_after_another() -> int:
        return sum([await async_redis.incr("n") > 0 for _ in range(20)])

    assert sum(await asyncio.gather(*(one_after_another() for _ in range(200)))) == 4_000
    assert await async_redis.get("n") == "4000"


async def test_a_blocking_command_delays_no_other(async_redis: Redis) -> None:
    client: Any = async_redis
    waiting = [
        asyncio.ensure_future(client.xread({"news": "$"}, block=2_000)) for _ in range(2 * CONNECTIONS)
    ]
    await asyncio.sleep(0.1)

    assert await asyncio.wait_for(async_redis.incr("n"), 1.0) == 1
    await async_redis.xadd("news", {"it": "happened"})
    assert all(await asyncio.gather(*waiting))


async def test_a_server_that_has_forgotten_its_scripts_is_given_them_again(
    async_redis: Redis, server: redis.Redis, tmp_path: Path
) -> None:
    (tmp_path / "double.lua").write_text("return 2 * ARGV[1]")
    double = Script(async_redis, tmp_path / "double.lua")
    assert await double([], [1]) == 2
    server.script_flush()

    assert await asyncio.gather(*(double([], [number]) for number in range(50))) == list(range(0, 100, 2))


async def test_an_outage_fails_all_commands_and_the_next_ones_succeed() -> None:
    # Of a range that no other test takes a server's port from: it has to stay free while ours is away.
    port = free_port()
    with RedisServer(port=port, config={"save": "", "appendonly": "no"}):
        client = open_redis(f"redis://127.0.0.1:{port}/0")
        await client.incr("n")
    answers = await asyncio.gather(*(client.incr("n") for _ in range(10)), return_exceptions=True)
    assert all(isinstance(answer, RedisError | OSError) for answer in answers)

    with RedisServer(port=port, config={"save": "", "appendonly": "no"}):
        assert sorted(await asyncio.gather(*(client.incr("n") for _ in range(10)))) == list(range(1, 11))
        await client.aclose()


async def test_connections_that_break_are_made_again(async_redis: Redis, server: redis.Redis) -> None:
    await asyncio.gather(*(async_redis.set(f"k{number}", number) for number in range(50)))
    with suppress(redis.ConnectionError):
        server.client_kill_filter(_type="normal", skipme=True)

    values = await asyncio.gather(*(async_redis.get(f"k{number}") for number in range(50)))

    assert values == [str(number) for number in range(50)]


async def test_a_loop_that_ends_cancels_those_who_wait(redis_url: str) -> None:
    client: Any = open_redis(redis_url)
    asking = asyncio.ensure_future(client.execute_command("BLPOP", "never", 0))
    await asyncio.sleep(0.1)
    for task in asyncio.all_tasks() - {asyncio.current_task(), asking}:
        task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asking, 5.0)
    await client.aclose()


async def test_a_command_that_cannot_be_written_costs_the_others_nothing(async_redis: Redis) -> None:
    for poison in ("half a character \ud800", None):
        *right, wrong = await asyncio.gather(
            *(async_redis.incr("n") for _ in range(5)),
            async_redis.set("k", cast("Any", poison)),
            return_exceptions=True,
        )
        assert all(isinstance(answer, int) for answer in right)
        assert isinstance(wrong, Exception)


async def test_an_answer_that_cannot_be_read_costs_the_others_nothing(
    async_redis: Redis, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as raw:
        raw.set("binary", b"\xff\xfe")
    before, wrong, *after = await asyncio.gather(
        async_redis.incr("n"),
        async_redis.get("binary"),
        *(async_redis.get("nothing") for _ in range(5)),
        return_exceptions=True,
    )

    assert before == 1
    assert isinstance(wrong, UnicodeDecodeError)
    assert after == [None] * 5
    assert await async_redis.get("n") == "1", "what has been answered is not sent again"


async def test_a_pipeline_cancelled_before_it_begins_fails_its_commands(
    async_redis: Redis,
) -> None:
    before = asyncio.all_tasks()
    asking = asyncio.ensure_future(async_redis.incr("n"))
    for _ in range(2):
        await asyncio.sleep(0)
    (pipeline,) = asyncio.all_tasks() - before - {asking}
    pipeline.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asking, 5.0)
    assert await async_redis.incr("n") >= 1


async def test_a_stalled_server_is_asked_again(
    async_redis: Redis, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.runtime.auto_pipeline.TIMEOUT_S", 0.05)
    server.set("k", "v")
    server.client_pause(300)

    answers = await asyncio.gather(*(async_redis.get("k") for _ in range(3)))

    assert answers == ["v"] * 3


async def test_a_closed_client_leaves_no_connection_and_no_waiting_command(
    redis_url: str, server: redis.Redis
) -> None:
    client: Any = open_redis(redis_url)
    await client.client_setname("to-be-closed")
    under_way = [
        asyncio.ensure_future(client.execute_command("BLPOP", "never", 0)) for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(0.1)
    behind = asyncio.ensure_future(client.incr("n"))
    await asyncio.sleep(0)

    await client.aclose()

    answers = await asyncio.wait_for(asyncio.gather(*under_way, behind, return_exceptions=True), 5.0)
    assert all(isinstance(answer, redis.ConnectionError) for answer in answers)
    assert server.get("n") is None
    with pytest.raises(redis.ConnectionError, match="closed"):
        await client.incr("n")
    names = [one["name"] for one in cast("Any", server.client_list())]
    assert "to-be-closed" not in names


async def test_a_url_with_unknown_options_fails_at_once() -> None:
    client = open_redis("redis://127.0.0.1:1/0?socket_timout=5")

    for _ in range(2):
        with pytest.raises(TypeError):
            await asyncio.wait_for(client.get("k"), 5.0)


async def test_leaving_a_server_harms_no_command_that_is_under_way(async_redis: Redis) -> None:
    """Connections were closed under others that were just being made: an error of the program's."""
    client = cast("AutoPipelineRedis", async_redis)
    answers: list[Any] = []

    async def ask(number: int) -> None:
        await asyncio.sleep(number % 7 * 0.0005)
        answers.append(await async_redis.incr("n"))

    for _ in range(60):
        asked = [asyncio.create_task(ask(number)) for number in range(20)]
        for _ in range(5):
            await client._leave_server()
            await asyncio.sleep(0.0005)
        await asyncio.gather(*asked)

    assert len(answers) == 1_200


async def test_after_leaving_a_server_every_connection_is_a_new_one(
    async_redis: Redis, server: redis.Redis
) -> None:
    def connected() -> set[str]:
        return {str(each["id"]) for each in server.client_list()}

    of_others = connected()
    await asyncio.gather(*(async_redis.incr("n") for _ in range(200)))
    before = connected() - of_others
    assert before

    await cast("AutoPipelineRedis", async_redis)._leave_server()
    await asyncio.gather(*(async_redis.incr("n") for _ in range(200)))

    assert not before & connected()
