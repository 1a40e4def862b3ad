"""Server-sent events: statuses as requests change, and outcomes. A client that comes back misses nothing."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response
from pydantic import Field
from redis.exceptions import RedisError

from workers.gateway.access import CLIENT
from workers.gateway.clients import Role
from workers.gateway.house import House, house_of
from workers.gateway.hub import Event, Position
from workers.gateway.problems import Problem
from workers.gateway.reading import Given, query
from workers.gateway.routes import Route

SILENT_S = 15.0
COME_BACK_MS = 2_000
SEND_WITHIN_S = 60.0


class _Wanted(Given):
    request_id: Annotated[str, Field(max_length=128)] | None = None
    cluster_id: Annotated[str, Field(max_length=128)] | None = None

    def wants(self, event: Event) -> bool:
        return self.request_id in (None, event.request_id) and self.cluster_id in (None, event.cluster_id)


async def stream(request: web.Request) -> web.StreamResponse:
    house, wanted = house_of(request), query(request, _Wanted)
    after = _position(request)
    with house.throttle.held(request[CLIENT].name), house.hub.streaming():
        # What comes from here on is told live; what came before is read from the ledger.
        number, here = house.hub.number, house.hub.position
        async with sse_response(request) as response:
            # An answer has begun, whatever breaks it: the client comes back for what it has missed.
            with suppress(RedisError, OSError):
                await response.send("", retry=COME_BACK_MS, id=str(after or here), event="hello")
                if after is not None:
                    async for event in house.hub.missed(after, here):
                        await _send(response, wanted, event)
                await _follow(house, response, wanted, number)
    return response


def _position(request: web.Request) -> Position | None:
    text = request.headers.get("Last-Event-ID")
    if not text:
        return None
    position = Position.of(text)
    if position is None:
        detail = "Last-Event-ID is not the id of an event of this gateway: leave it out"
        raise Problem(HTTPStatus.BAD_REQUEST, "unknown-event-id", detail)
    return position


async def _follow(house: House, response: EventSourceResponse, wanted: _Wanted, number: int) -> None:
    """Send events as they come, until the client goes or the gateway ends."""
    while response.is_connected() and not house.stopping.is_set():
        events = house.hub.since(number)
        if events is None:
            # The client is too slow. It comes back, and is told of what it has missed.
            return
        number += len(events)
        for event in events:
            await _send_filled(house, response, wanted, event)
        if not events:
            await house.hub.changed(SILENT_S)


async def _send_filled(house: House, response: EventSourceResponse, wanted: _Wanted, event: Event) -> None:
    """Send an event that may have come just before anybody streamed."""
    if wanted.request_id in (None, event.request_id):
        filled = await house.hub.filled(event)
        if filled is not None:
            await _send(response, wanted, filled)


async def _send(response: EventSourceResponse, wanted: _Wanted, event: Event) -> None:
    if wanted.wants(event):
        # A client that takes nothing costs a connection for so long, and no longer.
        async with asyncio.timeout(SEND_WITHIN_S):
            await response.send(event.data, id=str(event.position), event=event.kind)


ROUTES = (
    Route(
        "GET",
        "/v1/events",
        Role.READ,
        stream,
        "Follow requests as they change and end (server-sent events).",
        {HTTPStatus.OK: None},
        (HTTPStatus.BAD_REQUEST,),
        query=_Wanted,
        headers={"Last-Event-ID": "The id of the last event that was received"},
    ),
)
