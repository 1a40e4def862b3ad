"""What is shown as the command line shows it: schedules, quota, statistics, workers, findings; and health."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from pydantic import Field

from tasks.contract.documents import Finding, PoolStats, Quota, Schedule, Worker
from tasks.views.fleet import ALIVE_S, fleet
from workers.cli.commands.doctor import read_findings
from workers.cli.commands.quota import read_quota
from workers.cli.commands.schedules import read_schedules
from workers.cli.commands.stats import MAX_POOLS, read_stats
from workers.gateway.clients import Role
from workers.gateway.house import house_of
from workers.gateway.problems import unavailable
from workers.gateway.reading import Given, query
from workers.gateway.requests import json_response
from workers.gateway.routes import Route


class _OfCluster(Given):
    cluster_id: Annotated[str, Field(max_length=128)] | None = None


class _Zone(Given):
    zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] | None = Field(
        None, description="Of the one call that checks the credentials"
    )


class Health(Given):
    """The process answers."""

    ok: bool


class Readiness(Given):
    """It can accept requests, and somebody works on them."""

    ready: bool
    workers: int


async def schedules(request: web.Request) -> web.Response:
    house = house_of(request)
    return json_response(await read_schedules(house.ledger, house.settings))


async def quota(request: web.Request) -> web.Response:
    house = house_of(request)
    return json_response(await read_quota(house.ledger, house.settings))


async def stats(request: web.Request) -> web.Response:
    cluster_id = query(request, _OfCluster).cluster_id
    return json_response(await read_stats(house_of(request).ledger, cluster_id, MAX_POOLS))


async def workers(request: web.Request) -> web.Response:
    return json_response(await fleet(house_of(request).ledger))


async def doctor(request: web.Request) -> web.Response:
    zone = query(request, _Zone).zone
    return json_response([asdict(finding) for finding in await read_findings(zone)])


async def healthz(_: web.Request) -> web.Response:
    return json_response({"ok": True})


async def readyz(request: web.Request) -> web.Response:
    ledger = house_of(request).ledger
    if await ledger.lost_since() is not None:
        raise unavailable("data is missing from the ledger: nothing is sent until it is acknowledged")
    now, beats = ledger.clock.now_ms(), await ledger.overview.heartbeats()
    alive = sum(now - at < ALIVE_S * 1000 for at in beats.values())
    if not alive:
        raise unavailable(f"no worker has ticked for {ALIVE_S} s: requests are accepted, and wait")
    return json_response({"ready": True, "workers": alive})


def _shown(path: str, handler: object, summary: str, shape: object, **more: object) -> Route:
    return Route("GET", path, Role.READ, handler, summary, {HTTPStatus.OK: shape}, **more)  # type: ignore[arg-type]


ROUTES = (
    _shown("/v1/schedules", schedules, "Show the schedules and their next occurrences.", list[Schedule]),
    _shown("/v1/quota", quota, "Show how many API calls are used.", Quota),
    _shown("/v1/stats", stats, "Show how long operations take.", list[PoolStats], query=_OfCluster),
    _shown("/v1/workers", workers, "Show the workers of the last day.", list[Worker]),
    _shown("/v1/doctor", doctor, "Run all checks.", list[Finding], query=_Zone),
    Route("GET", "/healthz", Role.NONE, healthz, "Say that the process answers.", {HTTPStatus.OK: Health}),
    Route(
        "GET", "/readyz", Role.NONE, readyz, "Say whether requests are worked on.", {HTTPStatus.OK: Readiness}
    ),
)
