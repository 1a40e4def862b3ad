"""Who calls, and whether they may: tokens, roles, and what a browser on this machine can be made to do."""

from collections.abc import Collection
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from config.loopback import is_loopback
from workers.gateway.clients import Client, Role, Tokens, sha256_of
from workers.gateway.problems import Problem
from workers.gateway.sessions import COOKIE, Sessions
from workers.gateway.throttle import Throttle

CLIENT: web.RequestKey[Client] = web.RequestKey("client", Client)
SAFE = frozenset({"GET", "HEAD"})
ONCE = ("Authorization", "Host", "Content-Type", "Content-Length", "Idempotency-Key", "Last-Event-ID")
EVERYBODY = Client("local", Role.OPERATE)
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
BEARER = "bearer "
MAX_TOKEN_CHARS = 512


def from_this_machine(request: web.Request) -> bool:
    """Return whether the caller is on this machine, and no proxy here calls for somebody else."""
    return not any(name in request.headers for name in FORWARDED) and is_loopback(request.remote or "")


class Access:
    """Decides about each call before its handler runs.

    Args:
        tokens: None if everybody on this machine may do everything.
        names: hosts by which the gateway may be called then, in lower case.
    """

    def __init__(
        self, tokens: Tokens | None, names: Collection[str], throttle: Throttle, sessions: Sessions
    ) -> None:
        self._tokens = tokens
        self._names = frozenset(names)
        self._throttle = throttle
        self._sessions = sessions

    @web.middleware
    async def check(self, request: web.Request, handler: Any) -> web.StreamResponse:
        for name in ONCE:
            if len(request.headers.getall(name, ())) > 1:
                raise Problem(HTTPStatus.BAD_REQUEST, "duplicate-header", f"the header {name} came twice")
        role = getattr(request.match_info.handler, "role", Role.NONE)
        if self._tokens is None:
            self._check_browser(request)
        if getattr(request.match_info.handler, "open_here", False) and from_this_machine(request):
            role = Role.NONE if "Authorization" not in request.headers else role
        if role is not Role.NONE:
            client = EVERYBODY if self._tokens is None else await self._known(request, self._tokens)
            self._throttle.count(client.name)
            if client.role < role:
                has, needed = client.role.name.lower(), role.name.lower()
                detail = f"client {client.name} has the role {has}: this needs {needed}"
                raise Problem(HTTPStatus.FORBIDDEN, "forbidden", detail)
            request[CLIENT] = client
        response: web.StreamResponse = await handler(request)
        return response

    async def _known(self, request: web.Request, tokens: Tokens) -> Client:
        try:
            cookie = request.cookies.get(COOKIE)
            if "Authorization" in request.headers or cookie is None:
                return self._client(request, tokens)
            client = await self._of_cookie(cookie, tokens)
        except Problem:
            if getattr(request.match_info.handler, "for_people", False):
                raise web.HTTPSeeOther("/sign-in") from None
            raise
        self._check_origin(request)
        return client

    async def _of_cookie(self, cookie: str, tokens: Tokens) -> Client:
        name = self._sessions.name_in(cookie)
        known = None if name is None else tokens.hash_of(name)
        if known is None or not await self._sessions.is_of(cookie, known):
            raise _unauthorized("the browser has to sign in again: /sign-in")
        return tokens.by_hash(known)

    async def sign_in(self, token: str) -> str | None:
        """Return the cookie of the client with this token; None if there is none, or nobody needs one."""
        client = None if self._tokens is None else self._tokens.client_of(token)
        if client is None or self._tokens is None:
            return None
        return await self._sessions.start(client.name, sha256_of(token))

    @property
    def needs_token(self) -> bool:
        return self._tokens is not None

    def _client(self, request: web.Request, tokens: Tokens) -> Client:
        given = request.headers.get("Authorization", "")
        if not given.lower().startswith(BEARER) or len(given) > MAX_TOKEN_CHARS:
            raise _unauthorized("a token is needed: Authorization: Bearer …")
        client = tokens.client_of(given[len(BEARER) :].strip())
        if client is None:
            raise _unauthorized("the token is not known here: see `scaleout gateway token`")
        return client

    def _check_browser(self, request: web.Request) -> None:
        """Refuse what another site has a browser on this machine send."""
        host = _name_of(f"//{request.headers.get('Host', '')}")
        if host not in self._names:
            detail = "this name of the gateway is not in SCALEOUT_GATEWAY_NAMES"
            raise Problem(HTTPStatus.FORBIDDEN, "foreign-host", detail)
        self._check_origin(request)

    def check_own_page(self, request: web.Request) -> None:
        """Refuse a form that another site has a browser send."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise _foreign()
        self._check_named_origin(request)

    def _check_named_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower():
            raise _foreign()

    def _check_origin(self, request: web.Request) -> None:
        """Refuse what a page of another site has a browser send with what it has of this one."""
        self._check_named_origin(request)
        if request.method in SAFE or "X-Scaleout" in request.headers:
            return
        if request.content_type != "application/json":
            detail = (
                "without a token in it this needs Content-Type: application/json or the header X-Scaleout"
            )
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)


def _name_of(url: str) -> str | None:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return None


def _foreign() -> Problem:
    return Problem(HTTPStatus.FORBIDDEN, "foreign-origin", "the call comes from another site")


def _unauthorized(detail: str) -> Problem:
    headers = {"WWW-Authenticate": 'Bearer realm="scaleout"'}
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers=headers)
