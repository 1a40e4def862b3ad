"""The operator page, signing in and out, the list of calls, and the files that they need."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qs

from aiohttp import web
from pydantic import Field

from tasks.contract.documents import State
from workers.gateway.access import CLIENT, Access
from workers.gateway.clients import Role
from workers.gateway.house import house_of
from workers.gateway.page.reading import Findings, Wanted, read_page
from workers.gateway.page.render import STATIC, asset, render, static
from workers.gateway.problems import Problem
from workers.gateway.reading import Given, as_model
from workers.gateway.routes import Guarded
from workers.gateway.sessions import COOKIE, set_cookie

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FOR_GOOD = "public, max-age=31536000, immutable"
MAX_FORM = 4_096
MAX_FIELDS = 8


class _Query(Given):
    state: State | None = None
    cluster_id: Annotated[str, Field(max_length=128)] | None = None
    requested_by: Annotated[str, Field(max_length=128)] | None = None
    request: Annotated[str, Field(max_length=128)] | None = None


class Page:
    """Its handlers. `calls`: the OpenAPI document."""

    def __init__(self, access: Access, calls: dict[str, Any]) -> None:
        self._access = access
        self._calls = calls
        self._findings = Findings()

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/", Guarded(self.show, Role.READ, for_people=True))
        app.router.add_get("/sign-in", Guarded(self.ask, Role.NONE))
        app.router.add_post("/sign-in", Guarded(self.sign_in, Role.NONE))
        app.router.add_post("/sign-out", Guarded(self.sign_out, Role.NONE))
        app.router.add_get("/v1/docs", Guarded(self.docs, Role.NONE))
        app.router.add_get("/static/{name}", Guarded(self.file, Role.NONE))

    async def show(self, request: web.Request) -> web.Response:
        given = _given(request)
        wanted = Wanted(given.state, given.cluster_id, given.requested_by, given.request)
        content = await read_page(house_of(request), self._findings, wanted)
        client = request[CLIENT]
        return _html(
            "page.html",
            **content,
            client=client,
            may_operate=client.role >= Role.OPERATE,
            may_cancel=client.role >= Role.SUBMIT,
            signed_in=self._access.needs_token,
        )

    async def ask(self, _: web.Request) -> web.Response:
        return _html("sign_in.html", problem=None)

    async def sign_in(self, request: web.Request) -> web.Response:
        self._access.check_own_page(request)
        house_of(request).throttle.count(f"sign-in {request.remote}")
        token = await _field(request, "token")
        cookie = await self._access.sign_in(token)
        if cookie is None:
            problem = "This token is not known here."
            return _html("sign_in.html", HTTPStatus.UNAUTHORIZED, problem=problem)
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
        set_cookie(response, request, cookie)
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        self._access.check_own_page(request)
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/sign-in"})
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return response

    async def docs(self, _: web.Request) -> web.Response:
        return _html("calls.html", calls=self._calls)

    async def file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        headers = {"Cache-Control": FOR_GOOD} if asset(name).endswith(f"?{request.query_string}") else {}
        return web.Response(body=static(name), content_type=STATIC[name], charset="utf-8", headers=headers)


def _given(request: web.Request) -> _Query:
    """Return what a form asks for; fields that were left empty ask for nothing."""
    filled = {name: value for name, value in request.query.items() if value}
    return as_model(_Query, filled, strict=False)


async def _field(request: web.Request, name: str) -> str:
    """Return a field of a form. Raises Problem for anything else."""
    if request.content_type != "application/x-www-form-urlencoded":
        detail = "this takes the form of /sign-in"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
    raw = await request.read()
    if len(raw) > MAX_FORM:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request-entity-too-large", "the form is too large"
        )
    try:
        fields = parse_qs(raw.decode("ascii", "replace"), max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "unreadable", "the form has too many fields") from None
    return next(iter(fields.get(name, [])), "").strip()


def _html(template: str, status: HTTPStatus = HTTPStatus.OK, **content: Any) -> web.Response:
    text = render(template, **content)
    # With `no-referrer`, browsers would not say where the forms of this page come from.
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"}
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=headers)
