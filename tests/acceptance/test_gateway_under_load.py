"""Two hundred clients of one gateway at once, while Redis is killed and comes back with its data."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from scaleout_client import AsyncScaleoutClient
from tests.support.durable_server import durable_server
from tests.support.gateway import gateway
from tests.support.processes import environment, simulator, worker
from workers.gateway.clients import new_token

CLIENTS = 5  # each may have 50 waits and streams
STREAMS, WAITS, SUBMITTERS, EACH = 50, 100, 50, 3
OUTAGE_S = 3.0


async def events(url: str, token: str, until: asyncio.Event) -> AsyncIterator[tuple[str, str]]:
    """The events of a stream, over as many connections as it takes: as a browser, from the last id on."""
    last = ""
    while not until.is_set():
        headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last} if last else {})
        try:
            async with (
                aiohttp.ClientSession(read_bufsize=2**22) as session,
                session.get(
                    f"{url}/v1/events",
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None, sock_read=20),
                ) as stream,
            ):
                kind = ""
                async for raw in stream.content:
                    line = raw.decode().rstrip("\r\n")
                    name, _, value = line.partition(": ")
                    last = value if name == "id" else last
                    kind = value if name == "event" else kind
                    if name == "data" and kind == "outcome":
                        yield kind, json.loads(value)["request_id"]
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(0.5)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_nothing_answered_is_lost_and_nothing_bought_twice(tmp_path: Path) -> None:
    tokens, tables = [], []
    for number in range(CLIENTS):
        token, table = new_token(f"client-{number}", "operate")
        tokens.append(token)
        tables.append(table)
    (tmp_path / "tokens.toml").write_text("".join(tables))
    with (
        durable_server(tmp_path / "redis") as server,
        simulator(tmp_path / "simulator.log", signature_ttl_s=3) as provider,
    ):
        env = environment(server.url, provider.api_url, SIGNATURE_TTL_S=3, HTTP_TIMEOUT_S=2)
        with (
            gateway(env, tmp_path / "gateway.log", TOKENS_FILE=tmp_path / "tokens.toml") as running,
            worker(env, tmp_path / "worker.log"),
        ):
            names = [f"r-{number}-{turn}" for number in range(SUBMITTERS) for turn in range(EACH)]
            over, accepted, outcomes = asyncio.Event(), set[str](), dict[str, int]()
            known = {name: asyncio.Event() for name in names}

            async def submit(number: int) -> None:
                async with AsyncScaleoutClient(running.url, tokens[number % CLIENTS]) as client:
                    for turn in range(EACH):
                        name = f"r-{number}-{turn}"
                        await client.request(f"ehpc-{number % 7}", "jn1a", 1, request_id=name)
                        accepted.add(name)
                        known[name].set()
                        await asyncio.sleep(1.5)

            async def wait(number: int) -> None:
                async with AsyncScaleoutClient(running.url, tokens[number % CLIENTS]) as client:
                    name = names[number]
                    await known[name].wait()
                    outcomes[name] = (await client.wait(name, timeout_s=120))["nodes_added"]

            async def follow(number: int) -> set[str]:
                seen = set[str]()
                async for _, name in events(running.url, tokens[number % CLIENTS], over):
                    seen.add(name)
                    if len(seen) == len(names):
                        break
                return seen

            async def outage() -> None:
                await asyncio.sleep(2)
                server.kill()
                await asyncio.sleep(OUTAGE_S)
                await asyncio.to_thread(server.start)

            streams = [asyncio.create_task(follow(number)) for number in range(STREAMS)]
            await asyncio.sleep(1)
            await asyncio.gather(
                outage(),
                *(submit(number) for number in range(SUBMITTERS)),
                *(wait(number) for number in range(WAITS)),
            )
            async with asyncio.timeout(60):
                seen = await asyncio.gather(*streams)
            over.set()
            failed = running.process.events("request_failed")

        nodes = provider.nodes()

    assert accepted == set(names)
    assert set(outcomes.values()) == {1}
    assert nodes == len(names)
    assert all(names_seen == set(names) for names_seen in seen)
    assert failed == []
