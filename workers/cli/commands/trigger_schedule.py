"""`scaleout schedules trigger`: an operator requests a schedule's nodes now."""

from typing import Any

from config.policy.model import Schedule
from config.settings import LedgerSettings
from tasks.contract.policy_file import open_policy
from tasks.contract.request import MAX_NODES_PER_OPERATION
from tasks.ehpc.errors import EhpcError
from tasks.engine.wiring import open_intake
from tasks.handlers.provider_calls import Deferred
from tasks.intake.dry_run import sizes
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.events import Event
from tasks.ledger.ledger import DataLost, Ledger, ServerChanged, WriteConflict
from tasks.schedules.build_request import ScheduledRequest, build_request, lead_time_of
from tasks.schedules.node_count import SETTLING, NodeListing, list_nodes_of
from tasks.schedules.request_ids import trigger_id
from workers.cli.commands.schedules import find_schedule
from workers.cli.exit_codes import Exit
from workers.cli.session import provider_of, with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import confirm, echo, print_json, refuse, user_name

ATTEMPTS = 5


class CannotTrigger(Exception):  # noqa: N818 - says what is the matter
    """Nothing was requested; the text says why."""


def trigger_schedule(name: str, *, dry_run: bool, by: str | None, confirmed: bool, as_json: bool) -> Exit:
    """Make one request beside the occurrences, which stay as they are."""
    try:
        planned = with_ledger(lambda ledger, settings: _plan(ledger, settings, name))
        if planned is None:
            problem = f"no schedule {name} is in force here, nor in the policy file"
            return refuse(problem, Exit.NOT_FOUND, as_json=as_json)
        if dry_run:
            _show(planned, as_json=as_json)
            return Exit.SUCCEEDED
        if not confirmed and not confirm(_question(planned)):
            return Exit.USAGE
        who = by or user_name()
        scheduled = with_ledger(lambda ledger, settings: _trigger(ledger, settings, name, who))
    except (CannotTrigger, DataLost, ServerChanged, WriteConflict) as error:
        return refuse(f"nothing was requested: {error}", Exit.UNREACHABLE, as_json=as_json)
    if as_json:
        print_json({"request_id": scheduled.request_id, "node_count": scheduled.node_count})
    elif scheduled.request_id is not None:
        print(scheduled.request_id)  # noqa: T201
    if scheduled.request_id is None:
        echo(f"{name} has enough nodes: nothing was requested")
    if scheduled.rejected is not None:
        echo(f"scaleout: rejected: {scheduled.rejected}")
        return Exit.FAILED
    return Exit.SUCCEEDED


async def _plan(ledger: Ledger, settings: LedgerSettings, name: str) -> dict[str, Any] | None:
    schedule = await find_schedule(ledger, settings, name)
    if schedule is None:
        return None
    scheduled = await _build(ledger, settings, schedule)
    count, nodes = scheduled.count, scheduled.node_count
    request = None if scheduled.request_id is None else schedule.request(scheduled.request_id, nodes)
    return {
        "schedule": name,
        "mode": schedule.mode,
        "node_count": nodes,
        "present": None if count is None else count.present,
        "on_its_way": None if count is None else count.on_its_way,
        "operations": sizes(nodes, MAX_NODES_PER_OPERATION),
        "lead_time_s": await lead_time_of(ledger, schedule),
        "rejected": scheduled.rejected,
        "request": request,
    }


async def _trigger(ledger: Ledger, settings: LedgerSettings, name: str, by: str) -> ScheduledRequest:
    scheduled: ScheduledRequest | None = None

    async def build() -> ChangeSet:
        nonlocal scheduled
        schedule = await find_schedule(ledger, settings, name)
        if schedule is None:
            raise CannotTrigger(f"schedule {name} was removed from the policy just now")
        scheduled = await _build(ledger, settings, schedule)
        requests = () if scheduled.request_id is None else (scheduled.request_id,)
        fields = {"schedule": name, "by": by, "node_count": scheduled.node_count}
        scheduled.changes.record(Event("schedule_triggered", requests=requests, fields=fields))
        return scheduled.changes

    await ledger.transact(build)
    if scheduled is None:
        raise CannotTrigger(f"schedule {name} was not read")
    return scheduled


async def _build(ledger: Ledger, settings: LedgerSettings, schedule: Schedule) -> ScheduledRequest:
    intake = open_intake(settings, ledger, open_policy(settings))
    for _ in range(ATTEMPTS):
        listing = await _listing(ledger, schedule) if schedule.mode == "ensure" else None
        request_id = trigger_id(schedule.name, ledger.clock.now_ms())
        scheduled = await build_request(ledger, intake, schedule, request_id, listing)
        if scheduled is not None:
            return scheduled
    raise CannotTrigger(f"cluster {schedule.cluster_id} keeps changing: try again")


async def _listing(ledger: Ledger, schedule: Schedule) -> NodeListing:
    """List the cluster's nodes at the provider, which needs a worker's settings."""
    async with provider_of(ledger) as ctx:
        try:
            try:
                return await list_nodes_of(ctx, schedule.zone, schedule.cluster_id)
            except Deferred as deferred:
                if deferred.reason.kind != SETTLING:
                    raise
                left_s = max(0.0, (deferred.until - ledger.clock.now_ms()) / 1000)
                echo(f"{deferred}: waiting for {left_s:.0f} s")
                await ledger.clock.sleep(left_s)
                return await list_nodes_of(ctx, schedule.zone, schedule.cluster_id)
        except (EhpcError, Deferred) as error:
            raise CannotTrigger(f"the nodes of {schedule.cluster_id} cannot be listed: {error}") from error


def _question(planned: dict[str, Any]) -> str:
    request = planned["request"]
    if request is None:
        return f"{planned['schedule']} has enough nodes now: check again?"
    nodes, cluster_id = planned["node_count"], request["cluster_id"]
    return f"Request {nodes} nodes on {cluster_id} now, beside the schedule's occurrences?"


def _show(planned: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, **planned})
        return
    shown = {**planned, "operations": " + ".join(map(str, planned["operations"])) or "none"}
    request = shown.pop("request")
    rows = [(name, value) for name, value in shown.items() if value is not None]
    if request is not None:
        rows += [(f"request {name}", value) for name, value in request.items() if name != "request_id"]
    print_table(None, ("field", "value"), rows)
    echo("nothing was requested")
