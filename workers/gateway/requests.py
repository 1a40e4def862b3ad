"""Requests: make one, look at one or many, wait for its end, cancel it."""

import asyncio
import base64
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from config.timestamps import milliseconds
from tasks import admin
from tasks.contract.documents import HistoryEvent, State, StatusDocument
from tasks.contract.dry_run import DryRun
from tasks.contract.request import REQUEST_ID, InvalidRequest, ScaleOutRequest, parse_request
from tasks.intake.accept import Accepted
from tasks.ledger.ended_index import STATUSES, narrowest_index
from tasks.ledger.history_pages import newest_first
from tasks.ledger.records import Request
from tasks.runtime import tracing
from tasks.views.history import HistoryFilter
from tasks.views.read_status import read_documents
from workers.gateway.access import CLIENT
from workers.gateway.clients import Client, Role
from workers.gateway.house import House, house_of
from workers.gateway.problems import FieldError, Problem, as_json, invalid, not_found
from workers.gateway.reading import Given, as_model, json_object, query
from workers.gateway.routes import Route

MAX_WAIT_S = 60.0
LOOK_AGAIN_S = 30.0  # the stream tells what changes; this is for what it might not
MAX_PAGE = 500
RETRY_AFTER_S = "5"
# Kinds of rejections that a policy makes, and not the request's fields.
BY_POLICY = frozenset({"limit"})
Bool = Literal["true", "false"]
ISO_8601: JsonDict = {"format": "date-time"}


class _New(Given):
    dry_run: Bool = "false"


class _Wait(Given):
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] | None = None


class _Page(Given):
    state: State | None = None
    cluster_id: Annotated[str, Field(max_length=128)] | None = None
    requested_by: Annotated[str, Field(max_length=128)] | None = None
    since: Annotated[str, Field(max_length=64, json_schema_extra=ISO_8601)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100
    cursor: Annotated[str, Field(max_length=6_000, pattern=r"^[A-Za-z0-9_=-]+$")] | None = Field(
        None, description="The `next_cursor` of a page before"
    )


class RequestPage(Given):
    """The newest first: those that have not ended, then those that have, by their end."""

    requests: list[StatusDocument]
    next_cursor: str | None


class CancelBody(Given):
    """Why; recorded in the history."""

    reason: Annotated[str, Field(min_length=1, max_length=500)] | None = None


def _as_it_may_be_sent(schema: dict[str, Any]) -> None:
    """The id may be in a header, and the role may be left to the cluster by null."""
    schema["required"] = [name for name in schema["required"] if name != "request_id"]
    role = schema["properties"]["node_role"]
    schema["properties"]["node_role"] = {"anyOf": [role, {"type": "null"}]}


class RequestBody(ScaleOutRequest):
    """A request for nodes. Its `request_id` may be in the header Idempotency-Key."""

    model_config = ConfigDict(json_schema_extra=_as_it_may_be_sent)


def json_response(content: Any, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(text=as_json(content), status=status, content_type="application/json", headers=named)


async def submit(request: web.Request) -> web.Response:
    house, client = house_of(request), request[CLIENT]
    dry_run = query(request, _New).dry_run == "true"
    given = await json_object(request)
    spec = _parse(given, request.headers.get("Idempotency-Key"), client, dry_run=dry_run)
    parent = tracing.valid(request.headers.get("traceparent"))
    with tracing.span("scaleout accept", parent=parent, request_id=spec.request_id):
        # Read in one round trip with what is written: the answer shows the request as it was accepted.
        around = asyncio.ensure_future(house.ledger.waiting_snapshot(spec.cluster_id))
        around.add_done_callback(_seen)
        answer = await house.intake.accept(spec, None, by=client.name)
    where = f"/v1/requests/{spec.request_id}"
    if isinstance(answer, Accepted):
        if answer.request is None:
            document = await _document(house, spec.request_id)
        else:
            (document,) = await read_documents(house.ledger, [answer.request], {spec.cluster_id: around})
        return json_response(document, HTTPStatus.ACCEPTED, Location=where, Retry_After=RETRY_AFTER_S)
    if spec.dry_run:
        return json_response(answer.outcome)
    error = answer.outcome["error"] or {}
    if error.get("kind") == "conflict":
        raise _conflict(error["message"], spec, await house.ledger.request(spec.request_id))
    if answer.new and error.get("kind") in BY_POLICY:
        raise Problem(HTTPStatus.FORBIDDEN, "over-limit", error["message"])
    return json_response(await _document(house, spec.request_id), Location=where)


def _seen(reading: asyncio.Future[Any]) -> None:
    """Have asyncio not report an error of what nobody waits for any more."""
    if not reading.cancelled():
        reading.exception()


def _parse(given: dict[str, Any], key: str | None, client: Client, *, dry_run: bool) -> ScaleOutRequest:
    """Return the request. Raises Problem with every mistake."""
    fields, problems = dict(given), []
    if key is not None and fields.setdefault("request_id", key) != key:
        problems.append("request_id: the header Idempotency-Key has another one")
    if fields.get("request_id") is None:
        problems.append("request_id is missing: name it, or send the header Idempotency-Key")
        fields["request_id"] = "missing"
    if dry_run and isinstance(fields.get("dry_run", False), bool):
        fields["dry_run"] = True
    if client.requested_by is not None:
        named = fields.setdefault("requested_by", client.requested_by)
        if named != client.requested_by and client.role < Role.OPERATE:
            detail = f"requested_by has to be {client.requested_by!r}, which is this client's"
            raise Problem(HTTPStatus.FORBIDDEN, "foreign-producer", detail)
    try:
        spec = parse_request(fields)
    except InvalidRequest as error:
        raise invalid([*problems, *error.problems]) from None
    if problems:
        raise invalid(problems)
    return spec


def _conflict(message: str, spec: ScaleOutRequest, known: Request | None) -> Problem:
    before = {} if known is None or known.spec is None else known.spec.model_dump(mode="json")
    now = spec.content.model_dump(mode="json")
    differ = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
    errors = [FieldError(field=name, message="differs from the first request of this id") for name in differ]
    return Problem(HTTPStatus.CONFLICT, "conflict", message, errors=errors if before else ())


async def show(request: web.Request) -> web.Response:
    house, name = house_of(request), _name(request)
    wait_s = query(request, _Wait).wait
    if not wait_s:
        return json_response(await _document(house, name))
    with house.throttle.held(request[CLIENT].name):
        return json_response(await _wait(house, name, wait_s))


async def _wait(house: House, name: str, wait_s: float) -> dict[str, Any]:
    """Return the document once the request has ended, or as it is after `wait_s` seconds."""
    now = asyncio.get_running_loop().time
    deadline = now() + wait_s
    while True:
        number = house.hub.number
        document = _known(await house.hub.shared_document(name))
        if document["outcome"] is not None or house.stopping.is_set() or now() >= deadline:
            return document
        await _until_it_changes(house, name, number, min(deadline, now() + LOOK_AGAIN_S))


async def _until_it_changes(house: House, name: str, number: int, deadline: float) -> None:
    """Wait for an event of the request after the first `number` events, until `deadline` at most."""
    now = asyncio.get_running_loop().time
    while (left_s := deadline - now()) > 0 and not house.stopping.is_set():
        events = house.hub.since(number)
        if events is None or any(event.request_id == name for event in events):
            return
        number += len(events)
        await house.hub.changed(left_s)


async def list_requests(request: web.Request) -> web.Response:
    house, given = house_of(request), query(request, _Page)
    wanted = HistoryFilter(given.cluster_id, given.requested_by, given.state, _since(given.since))
    found, following = await _page(house, wanted, given.limit, _start(given.cursor))
    documents = await read_documents(house.ledger, found)
    return json_response({"requests": documents, "next_cursor": following})


def _since(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return milliseconds(text)
    except ValueError:
        raise invalid([f"since={text!r}: is not a time of ISO 8601"]) from None


Start = tuple[int, int, tuple[str, ...]]


def _start(cursor: str | None) -> Start | None:
    """Return the part, the score, and those of its members that were shown."""
    if cursor is None:
        return None
    try:
        part, score, *names = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if part in (0, 1) and isinstance(score, int) and all(isinstance(name, str) for name in names):
            return part, score, tuple(names)
    except (ValueError, TypeError):
        pass
    raise invalid(["cursor: is not one that this gateway has given"])


async def _page(
    house: House, wanted: HistoryFilter, limit: int, start: Start | None
) -> tuple[list[Request], str | None]:
    """Return the requests of a page, and the cursor of the next one."""
    ledger = house.ledger
    found: list[Request] = []
    known: set[str] = set()
    ended = await narrowest_index(
        ledger, cluster_id=wanted.cluster_id, requested_by=wanted.requested_by, status=wanted.state
    )
    for part, index in enumerate((ledger.keys.index("open"), ended)):
        if (start is not None and part < start[0]) or (part == 0 and wanted.state in STATUSES):
            continue
        here = (start[1], start[2]) if start is not None and part == start[0] else None
        async for names in newest_first(ledger, index, start=here):
            requests = await ledger.requests(names, readable_only=True)
            for name in names:
                one = requests.get(name)
                if one is None or name in known or not wanted.matches(one):
                    continue
                if len(found) == limit:
                    return found, await _cursor(house, part, index, found, start)
                known.add(name)
                found.append(one)
    return found, None


async def _cursor(house: House, part: int, index: str, found: Sequence[Request], start: Start | None) -> str:
    """Return a cursor behind the last request that was found, and the others of its time."""
    redis: Any = house.ledger.redis
    scores = {one.request_id: await redis.zscore(index, one.request_id) for one in found}
    at = min((int(score) for score in scores.values() if score is not None), default=2**53)
    of_it = [name for name, score in scores.items() if score == at]
    if start is not None and start[:2] == (part, at):
        of_it += start[2]
    return base64.urlsafe_b64encode(json.dumps([part, at, *of_it]).encode()).decode()


async def history(request: web.Request) -> web.Response:
    name = _name(request)
    lines = await house_of(request).ledger.overview.history(name)
    if not lines:
        raise not_found("request of this id")
    return json_response(lines)


async def cancel(request: web.Request) -> web.Response:
    house, client, name = house_of(request), request[CLIENT], _name(request)
    body = as_model(CancelBody, await json_object(request, may_be_empty=True))
    found = await house.ledger.request(name)
    if found is None:
        raise not_found("request of this id")
    requested_by = None if found.spec is None else found.spec.requested_by
    if client.role < Role.OPERATE and (client.requested_by is None or requested_by != client.requested_by):
        raise Problem(HTTPStatus.FORBIDDEN, "foreign-request", "it is not a request of this client")
    await admin.cancel(house.ledger, name, by=client.name, reason=body.reason)
    return json_response(await _document(house, name))


async def _document(house: House, name: str) -> dict[str, Any]:
    return _known(await house.hub.document(name))


def _known(document: dict[str, Any] | None) -> dict[str, Any]:
    if document is None:
        raise not_found("request of this id")
    return document


def _name(request: web.Request) -> str:
    name = request.match_info["request_id"]
    if REQUEST_ID.fullmatch(name) is None:
        raise not_found("request of this id")
    return name


ONE = "/v1/requests/{request_id}"
ROUTES = (
    Route(
        "POST",
        "/v1/requests",
        Role.SUBMIT,
        submit,
        "Request nodes. The same id with the same content is the same request.",
        {HTTPStatus.ACCEPTED: StatusDocument, HTTPStatus.OK: StatusDocument | DryRun},
        (HTTPStatus.CONFLICT, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        body=RequestBody,
        query=_New,
        headers={"Idempotency-Key": "The request_id, if the body has none"},
    ),
    Route(
        "GET",
        "/v1/requests",
        Role.READ,
        list_requests,
        "List requests, the newest first.",
        {HTTPStatus.OK: RequestPage},
        query=_Page,
    ),
    Route(
        "GET",
        ONE,
        Role.READ,
        show,
        "Show a request, at once or when it has ended.",
        {HTTPStatus.OK: StatusDocument},
        (HTTPStatus.NOT_FOUND,),
        query=_Wait,
    ),
    Route(
        "GET",
        f"{ONE}/history",
        Role.READ,
        history,
        "Show every event of a request.",
        {HTTPStatus.OK: list[HistoryEvent]},
        (HTTPStatus.NOT_FOUND,),
    ),
    Route(
        "POST",
        f"{ONE}/cancel",
        Role.SUBMIT,
        cancel,
        "Cancel a request: it gets no further nodes.",
        {HTTPStatus.OK: StatusDocument},
        (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN),
        body=CancelBody,
        body_needed=False,
    ),
)
