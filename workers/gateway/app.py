"""The application: routes, checks of each call, and headers of each answer."""

from typing import Any

from aiohttp import web

from workers.gateway import events, looking, operating, requests
from workers.gateway.access import Access
from workers.gateway.clients import Role
from workers.gateway.house import HOUSE, House
from workers.gateway.metrics import metrics
from workers.gateway.openapi import document
from workers.gateway.page.routes import Page
from workers.gateway.problems import as_json, as_problems
from workers.gateway.routes import Guarded, Route

MAX_BODY = 64 * 1024
ROUTES: tuple[Route, ...] = (*requests.ROUTES, *events.ROUTES, *operating.ROUTES, *looking.ROUTES)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_app(house: House, access: Access) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_with_headers, as_problems, access.check])
    app[HOUSE] = house
    for route in ROUTES:
        route.add_to(app)
    calls = document(ROUTES, with_tokens=access.needs_token)
    text = as_json(calls)
    Page(access, calls).add_to(app)

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/json")

    app.router.add_get("/v1/openapi.json", Guarded(openapi, Role.NONE))
    app.router.add_get("/metrics", Guarded(metrics, Role.READ, open_here=True))
    return app


@web.middleware
async def _with_headers(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    if not response.prepared:
        response.headers.update(
            {name: value for name, value in HEADERS.items() if name not in response.headers}
        )
    return response
