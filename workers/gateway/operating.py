"""What operators do: decide held operations, pause and resume."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from config.timestamps import milliseconds
from tasks import admin
from tasks.contract.documents import Blocker, HeldOperation
from tasks.engine.decide import check, decide, refusals
from tasks.ledger.ledger import Ledger
from tasks.state_machine.resolution import CannotResolve
from tasks.views.blockers import read_blockers
from tasks.views.held_operations import read_evidence
from workers.cli.commands.pause import CLUSTER_ID
from workers.cli.session import provider_of
from workers.gateway.access import CLIENT
from workers.gateway.clients import Role
from workers.gateway.house import house_of
from workers.gateway.problems import FieldError, Problem, invalid, not_found
from workers.gateway.reading import Given, as_model, json_object, query
from workers.gateway.requests import ISO_8601, json_response
from workers.gateway.routes import Route

MAX_PAUSE_S = 366 * 86_400
Reason = Annotated[str, Field(min_length=1, max_length=500)]


class _Held(Given):
    state: Literal["held"] = "held"


ADOPT: JsonDict = {"adopt": {"type": "string"}, "not_executed": {"const": False}}
NOT_EXECUTED: JsonDict = {"adopt": {"type": "null"}, "not_executed": {"const": True}}
EITHER: JsonDict = {
    "oneOf": [
        {"required": ["adopt"], "properties": ADOPT},
        {"required": ["not_executed"], "properties": NOT_EXECUTED},
    ]
}


class DecideBody(Given):
    """One of the two decisions."""

    model_config = ConfigDict(json_schema_extra=EITHER)

    adopt: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="The job that it became"
    )
    not_executed: bool = Field(False, description="The provider never executed it: request its nodes again")
    reason: Reason | None = None
    force: bool = Field(False, description="Overrule what the provider's log cannot show")


class PauseBody(Given):
    """Why, and until when; without an end until it is resumed."""

    reason: Reason | None = None
    until: Annotated[str, Field(max_length=64, json_schema_extra=ISO_8601)] | None = Field(
        None, description="In the future"
    )


async def held(request: web.Request) -> web.Response:
    query(request, _Held)
    ledger = house_of(request).ledger
    return json_response(await read_evidence(ledger, await ledger.overview.held_operations()))


async def resolve(request: web.Request) -> web.Response:
    house, operation_id = house_of(request), request.match_info["operation_id"]
    body = as_model(DecideBody, await json_object(request))
    if (body.adopt is None) is not body.not_executed:
        raise invalid(["adopt: name a job, or set not_executed; one of the two"])
    if not await read_evidence(house.ledger, [operation_id]):
        raise not_found("operation of this id")
    async with provider_of(house.ledger) as ctx:
        checked = await check(ctx, operation_id, body.adopt)
    if refused := refusals(checked.objections, force=body.force, option="force"):
        raise _does_not_fit(refused)
    try:
        by, reason = request[CLIENT].name, body.reason
        await decide(house.ledger, operation_id, body.adopt, checked, by=by, reason=reason)
    except CannotResolve as error:
        raise _does_not_fit([str(error)]) from None
    return json_response((await read_evidence(house.ledger, [operation_id]))[0])


def _does_not_fit(texts: list[str]) -> Problem:
    errors = [FieldError(field="", message=text) for text in texts]
    return Problem(HTTPStatus.CONFLICT, "does-not-fit", "; ".join(texts), errors=errors)


async def blockers(request: web.Request) -> web.Response:
    return json_response(await _blockers(house_of(request).ledger))


async def pause(request: web.Request) -> web.Response:
    ledger, cluster_id = house_of(request).ledger, _cluster(request)
    body = as_model(PauseBody, await json_object(request, may_be_empty=True))
    lasting_s = None if body.until is None else _lasting_s(ledger, body.until)
    by = request[CLIENT].name
    await admin.pause(ledger, cluster_id, by=by, reason=body.reason, lasting_s=lasting_s)
    return json_response(await _blockers(ledger))


async def resume(request: web.Request) -> web.Response:
    ledger = house_of(request).ledger
    await admin.resume(ledger, _cluster(request), by=request[CLIENT].name)
    return json_response(await _blockers(ledger))


async def _blockers(ledger: Ledger) -> list[dict[str, Any]]:
    return [blocker.json() for blocker in await read_blockers(ledger)]


def _cluster(request: web.Request) -> str | None:
    cluster_id = request.match_info.get("cluster_id")
    if cluster_id is not None and CLUSTER_ID.fullmatch(cluster_id) is None:
        raise not_found("cluster of this id: use ehpc-… or hpc-…")
    return cluster_id


def _lasting_s(ledger: Ledger, until: str) -> float:
    try:
        left_s = (milliseconds(until) - ledger.clock.now_ms()) / 1000
    except ValueError:
        raise invalid([f"until={until!r}: is not a time of ISO 8601"]) from None
    if not 0 < left_s <= MAX_PAUSE_S:
        raise invalid([f"until={until!r}: has to be in the future, and within 366 days"])
    return left_s


OF_CLUSTER = "/v1/pauses/clusters/{cluster_id}"
OF_ALL = "/v1/pauses/account"
FOUND = {HTTPStatus.OK: list[Blocker]}
ROUTES = (
    Route(
        "GET",
        "/v1/operations",
        Role.READ,
        held,
        "List held operations with their evidence.",
        {HTTPStatus.OK: list[HeldOperation]},
        query=_Held,
    ),
    Route(
        "POST",
        "/v1/operations/{operation_id}/resolve",
        Role.OPERATE,
        resolve,
        "Decide an operation; the provider's log is asked first.",
        {HTTPStatus.OK: HeldOperation},
        (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        body=DecideBody,
    ),
    Route("GET", "/v1/pauses", Role.READ, blockers, "List what stops new operations.", FOUND),
    *(
        Route(method, path, Role.OPERATE, handler, summary, FOUND, problems, body, body_needed=False)
        for path, problems in ((OF_ALL, ()), (OF_CLUSTER, (HTTPStatus.NOT_FOUND,)))
        for method, handler, summary, body in (
            ("PUT", pause, "Pause submissions.", PauseBody),
            ("DELETE", resume, "Lift a pause; close the cluster's circuit breakers.", None),
        )
    ),
)
