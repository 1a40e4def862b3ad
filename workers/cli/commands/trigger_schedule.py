"""`scaleout schedules run`: a person asks for a schedule's nodes now."""

from __future__ import annotations

from typing import Any

from config.policy.model import Schedule
from config.settings import LedgerSettings, Settings, load
from tasks.contract.policy_file import open_policy
from tasks.contract.request import MAX_NODES_PER_OPERATION
from tasks.ehpc.connections import open_connections
from tasks.ehpc.errors import EhpcError
from tasks.engine.wiring import open_api, open_governor, open_intake
from tasks.handlers.context import Machinery
from tasks.handlers.provider_calls import MustWait
from tasks.ledger.change_set import Committed, Event
from tasks.ledger.ledger import Ledger
from tasks.ledger.transactions import tell
from tasks.schedules.build_request import Asking, ask, lead_time_of
from tasks.schedules.node_count import SETTLING, Listing, list_nodes_of
from tasks.schedules.request_ids import run_id
from workers.cli.commands.schedules import find_schedule
from workers.cli.exit_codes import Exit
from workers.cli.person import confirm, name_of_user
from workers.cli.session import with_ledger
from workers.cli.terminal import print_json, print_table, say

ATTEMPTS = 5


class CannotRun(Exception):  # noqa: N818 - says what is the matter
    """Nothing was asked for; the text says why."""


def run_schedule(name: str, *, dry_run: bool, by: str | None, confirmed: bool, as_json: bool) -> Exit:
    """Its moments stay as they are: this request is beside them. Raises SettingsError or PolicyError."""
    try:
        planned = with_ledger(lambda ledger, settings: _plan(ledger, settings, name))
        if planned is None:
            say(f"scaleout: no schedule {name} is in force here, nor in the policy file")
            return Exit.NO_SUCH_REQUEST
        if dry_run:
            _show(planned, as_json=as_json)
            return Exit.SUCCEEDED
        if not confirmed and not confirm(_question(planned)):
            return Exit.USAGE
        who = by or name_of_user()
        asking = with_ledger(lambda ledger, settings: _run(ledger, settings, name, who))
    except CannotRun as error:
        say(f"scaleout: {error}")
        return Exit.UNREACHABLE
    if as_json:
        print_json({"request_id": asking.request_id, "node_count": asking.node_count})
    elif asking.request_id is not None:
        print(asking.request_id)  # noqa: T201
    if asking.request_id is None:
        say(f"{name} has enough already: nothing was asked for")
    if asking.rejected is not None:
        say(f"scaleout: rejected: {asking.rejected}")
        return Exit.ENDED_OTHERWISE
    return Exit.SUCCEEDED


async def _plan(ledger: Ledger, settings: LedgerSettings, name: str) -> dict[str, Any] | None:
    schedule = await find_schedule(ledger, settings, name)
    if schedule is None:
        return None
    asking = await _ask(ledger, settings, schedule)
    count, nodes = asking.count, asking.node_count
    request = None if asking.request_id is None else schedule.request(asking.request_id, nodes)
    most = MAX_NODES_PER_OPERATION
    return {
        "schedule": name,
        "mode": schedule.mode,
        "node_count": nodes,
        "present": None if count is None else count.present,
        "on_its_way": None if count is None else count.on_its_way,
        "operations": [min(most, nodes - first) for first in range(0, nodes, most)],
        "lead_time_s": await lead_time_of(ledger, schedule),
        "rejected": asking.rejected,
        "request": request,
    }


async def _run(ledger: Ledger, settings: LedgerSettings, name: str, by: str) -> Asking:
    for _ in range(ATTEMPTS):
        schedule = await find_schedule(ledger, settings, name)
        if schedule is None:
            raise CannotRun(f"schedule {name} was taken out of the policy just now")
        asking = await _ask(ledger, settings, schedule)
        asked = () if asking.request_id is None else (asking.request_id,)
        fields = {"schedule": name, "by": by, "node_count": asking.node_count}
        asking.changes.tell(Event("schedule_run", requests=asked, fields=fields))
        match await ledger.commit(asking.changes):
            case Committed.OK:
                tell(asking.changes)
                return asking
            case Committed.LOST:
                raise CannotRun("data is missing from the ledger: see scaleout doctor")
            case Committed.STALE:
                continue
    raise CannotRun(f"what {name} needs changes again and again: try once more")


async def _ask(ledger: Ledger, settings: LedgerSettings, schedule: Schedule) -> Asking:
    intake = open_intake(settings, ledger, open_policy(settings))
    for _ in range(ATTEMPTS):
        listing = await _listing(ledger, schedule) if schedule.mode == "ensure" else None
        asking = await ask(ledger, intake, schedule, run_id(schedule.name, ledger.clock.now_ms()), listing)
        if asking is not None:
            return asking
    raise CannotRun(f"cluster {schedule.cluster_id} is being changed again and again: try once more")


async def _listing(ledger: Ledger, schedule: Schedule) -> Listing:
    """What is there is asked of the provider, which needs a worker's settings."""
    settings = load(Settings)
    async with open_connections() as connections:
        machinery = Machinery(
            settings=settings,
            ledger=ledger,
            api=open_api(settings, connections, ledger.clock),
            governor=open_governor(settings, ledger),
            clock=ledger.clock,
        )
        try:
            try:
                return await list_nodes_of(machinery, schedule.zone, schedule.cluster_id)
            except MustWait as wait:
                left_s = (wait.until - ledger.clock.now_ms()) / 1000
                if wait.refusal.kind != SETTLING:
                    raise
                say(f"{wait}: waiting for {max(0.0, left_s):.0f} s")
                await ledger.clock.sleep(max(0.0, left_s))
                return await list_nodes_of(machinery, schedule.zone, schedule.cluster_id)
        except (EhpcError, MustWait) as error:
            raise CannotRun(
                f"the nodes of {schedule.cluster_id} cannot be listed, and nothing was asked for: {error}"
            ) from error


def _question(planned: dict[str, Any]) -> str:
    request = planned["request"]
    if request is None:
        return f"{planned['schedule']} has enough just now: look once more?"
    return f"Ask for {planned['node_count']} nodes on {request['cluster_id']} now, beside its moments?"


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
    say("nothing was asked for")
