"""`scaleout pause` and `scaleout resume`: written to the ledger, so they hold without a worker, too."""

import math
import re

from config.settings import LedgerSettings
from config.timestamps import timestamp
from tasks import admin
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING
from tasks.views.blockers import Blocker, read_blockers
from workers.cli.durations import InvalidDuration, parse_duration
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, echo_problems, print_json, user_name

CLUSTER_ID = re.compile(r"e?hpc-[A-Za-z0-9]{1,64}")
MAX_CHARS = 500
COLUMNS = ("kind", "scope", "by", "since", "until", "reason")


def pause_submissions(
    cluster_id: str | None,
    reason: str | None,
    lasting: str | None,
    by: str | None,
    *,
    extend: bool,
    as_json: bool,
) -> Exit:
    """Exit code 2 for an impossible cluster id, reason, name or duration."""
    problems = _problems(cluster_id, reason=reason, by=by)
    lasting_s = None
    try:
        lasting_s = None if lasting is None else parse_duration(lasting)
    except InvalidDuration as error:
        problems.append(f"--for: {error}")
    if extend and lasting is None:
        problems.append("--extend-deadlines needs --for: without an end it is not known by how much")
    if problems:
        echo_problems(problems, as_json=as_json)
        return Exit.USAGE

    async def pause(ledger: Ledger, _: LedgerSettings) -> list[Blocker]:
        who = by or user_name()
        await admin.pause(ledger, cluster_id, by=who, reason=reason, lasting_s=lasting_s)
        if extend and lasting_s is not None:
            number = await admin.extend_deadlines(ledger, cluster_id, by_s=lasting_s, by=who, reason=reason)
            echo(f"the deadlines of {number} requests are {lasting} later")
        await _echo_deadlines(ledger, cluster_id, lasting_s)
        if cluster_id is not None:
            await _echo_what_continues(ledger, cluster_id)
        return await read_blockers(ledger)

    _show(with_ledger(pause), as_json=as_json)
    return Exit.SUCCEEDED


def resume_submissions(cluster_id: str | None, by: str | None, *, as_json: bool) -> Exit:
    """Lift a pause; for a cluster, close its open breakers too. Succeed if there is nothing to lift."""
    if problems := _problems(cluster_id, by=by):
        echo_problems(problems, as_json=as_json)
        return Exit.USAGE

    async def resume(ledger: Ledger, _: LedgerSettings) -> list[Blocker]:
        resumed = await admin.resume(ledger, cluster_id, by=by or user_name())
        echo(f"{cluster_id or EVERYTHING} is resumed" if resumed else "nothing was paused here")
        return await read_blockers(ledger)

    _show(with_ledger(resume), as_json=as_json)
    return Exit.SUCCEEDED


async def _echo_deadlines(ledger: Ledger, cluster_id: str | None, lasting_s: int | None) -> None:
    """Say how many requests will end in the pause because their deadline passes."""
    deadlines = [
        request.deadline_at
        async for request in ledger.overview.open_records()
        if request.spec is not None
        and cluster_id in (None, request.spec.cluster_id)
        and request.unassigned_nodes > 0
    ]
    until = math.inf if lasting_s is None else ledger.clock.now_ms() + lasting_s * 1000
    passing = [at for at in deadlines if at < until]
    if passing:
        what = "requests will pass their deadline in this pause" if lasting_s else "requests wait"
        echo(f"{len(passing)} {what}, the first at {timestamp(min(passing))}; --extend-deadlines moves them")


async def _echo_what_continues(ledger: Ledger, cluster_id: str) -> None:
    cluster = await ledger.cluster(cluster_id)
    if not cluster.version and not (await ledger.arrivals(cluster_id)).version:
        echo(f"scaleout: no request has named cluster {cluster_id} so far: is its id correct?")
    operation = await ledger.operation(cluster.locked_by) if cluster.locked_by else None
    if operation is not None and operation.sent_at is not None:
        echo(f"operation {operation.operation_id} is already {operation.state} and continues")


def _problems(cluster_id: str | None, **texts: str | None) -> list[str]:
    problems = []
    if cluster_id is not None and CLUSTER_ID.fullmatch(cluster_id) is None:
        problems.append(f"--cluster: {cluster_id[:80]!r} is not a cluster id: use ehpc-… or hpc-…")
    for name, text in texts.items():
        if text is not None and not 1 <= len(text.strip()) <= MAX_CHARS:
            problems.append(f"--{name}: {len(text)} characters: use 1 to {MAX_CHARS}")
    return problems


def _show(blockers: list[Blocker], *, as_json: bool) -> None:
    """Show all that is blocked now: one pause may be lifted and another still be in force."""
    rows = [blocker.json() for blocker in blockers]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(None, COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
