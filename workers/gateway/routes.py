"""A route: its handler, who may call it, and what the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from workers.gateway.clients import Role

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One call.

    Fields:
        path: as aiohttp writes it, and OpenAPI: `/v1/requests/{request_id}`.
        summary: an imperative line.
        answers: the shape of each success: a model, a list of one, or None without a body.
        problems: statuses of problem documents beside those that every call has.
        body: shape of the request's body; `body_needed`: whether there has to be one.
        query: shape of the query.
        headers: header parameters that have a meaning, with it.
    """

    method: str
    path: str
    role: Role
    handler: Handler
    summary: str
    answers: Mapping[HTTPStatus, Any]
    problems: tuple[HTTPStatus, ...] = ()
    body: type[BaseModel] | None = None
    body_needed: bool = True
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def add_to(self, app: web.Application) -> None:
        """Register it; `Access` finds the role at the handler."""
        app.router.add_route(self.method, self.path, Guarded(self.handler, self.role))


class Guarded:
    """A handler and the role that it needs.

    Args:
        open_here: nobody on this machine needs a role.
        for_people: who is not known has to sign in, and is not told of a problem.
    """

    def __init__(
        self, handler: Handler, role: Role, *, open_here: bool = False, for_people: bool = False
    ) -> None:
        self._handler = handler
        self.role = role
        self.open_here = open_here
        self.for_people = for_people

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        return await self._handler(request)
