"""Listings share connections; a sending never goes over one that has been used."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web
from pydantic import SecretStr

from tasks.ehpc.client import EhpcClient
from tasks.ehpc.connections import KEPT_S, Connections, open_connections
from tasks.ehpc.errors import InDoubt
from tasks.ehpc.signature import Credentials, SigningRules

AT = datetime(2022, 4, 11, 15, 0, 13, tzinfo=UTC)
PAGE = {"ret_code": 0, "total_count": 0, "job_set": [], "hpc_app_nodes_set": []}
TAKEN = {"ret_code": 0, "job_id": "j-1"}


class Server:
    """Notes over which connection each call came."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.hangs_up = False
        self.port = 0

    def listed(self, method: str) -> list[int]:
        return [port for name, port in self.calls if name == method]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        self.calls.append((request.method, transport.get_extra_info("peername")[1]))
        if self.hangs_up:
            transport.abort()
        return web.Response(text=json.dumps(TAKEN if request.method == "POST" else PAGE))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, keepalive_timeout=60)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    yield server
    await runner.cleanup()


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    async with open_connections() as opened:
        yield opened


@pytest.fixture
def client(server: Server, connections: Connections) -> EhpcClient:
    return connect(connections, server)


def connect(connections: Connections, server: Server) -> EhpcClient:
    return EhpcClient(
        connections,
        f"http://127.0.0.1:{server.port}/api",
        Credentials("key", SecretStr("secret")),
        SigningRules(),
        timeout_s=5.0,
        connect_timeout_s=5.0,
        now_ms=lambda: 1_700_000_000_000,
        on_call=lambda _: None,
    )


async def read(client: EhpcClient) -> None:
    await client.list_jobs("jn1a", at=AT, offset=0, newest_first=True)


async def test_listings_one_after_another_share_a_connection(client: EhpcClient, server: Server) -> None:
    for _ in range(3):
        await read(client)
    await client.list_nodes("jn1a", "ehpc-a", at=AT, offset=0)

    assert len(set(server.listed("GET"))) == 1


async def test_each_sending_has_a_connection_that_nothing_else_has_used(
    client: EhpcClient, server: Server
) -> None:
    for _ in range(3):
        await read(client)
        await client.add_nodes("jn1a", b"{}", AT, lambda: True)

    assert len(set(server.listed("POST"))) == 3
    assert not set(server.listed("POST")) & set(server.listed("GET"))


async def test_a_kept_connection_is_given_up_before_a_server_would_close_it(server: Server) -> None:
    assert KEPT_S < 5.0
    async with open_connections(kept_s=0.1) as connections:
        client = connect(connections, server)
        await read(client)
        await asyncio.sleep(0.3)
        await read(client)

    assert len(set(server.listed("GET"))) == 2


async def test_a_listing_whose_kept_connection_breaks_is_not_made_twice(
    client: EhpcClient, server: Server
) -> None:
    await read(client)
    server.hangs_up = True

    with pytest.raises(InDoubt):
        await read(client)
    server.hangs_up = False
    await read(client)

    assert len(server.listed("GET")) == 3
