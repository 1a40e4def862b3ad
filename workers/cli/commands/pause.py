"""`scaleout pause` and `scaleout resume`: written to the ledger, so they hold when no worker runs, too."""

from __future__ import annotations

import re

from config.settings import LedgerSettings
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING
from tasks.ledger.transactions import MOST_CONTENTION, Contention
from tasks.state_machine import pauses
from tasks.views.blockers import Stop, read_stops
from workers.cli.durations import NoSpan, seconds_of
from workers.cli.exit_codes import Exit
from workers.cli.person import name_of_user
from workers.cli.session import with_ledger
from workers.cli.terminal import print_json, print_table, say

CLUSTER_ID = re.compile(r"e?hpc-[A-Za-z0-9]{1,64}")
MOST_CHARS = 500
COLUMNS = ("kind", "scope", "by", "since", "until", "why")


def pause_sending(
    cluster_id: str | None, why: str | None, lasting: str | None, by: str | None, *, as_json: bool
) -> Exit:
    """Exit code 2 for a cluster id, a reason, a name or a span that cannot be."""
    problems = _problems(cluster_id, why=why, by=by)
    try:
        lasting_s = None if lasting is None else seconds_of(lasting)
    except NoSpan as error:
        problems.append(f"--for: {error}")
    if problems:
        return _refused(problems, as_json=as_json)
    who = by or name_of_user()

    async def write(ledger: Ledger, _: LedgerSettings) -> list[Stop]:
        for _attempt in range(MOST_CONTENTION):
            record = await ledger.pause(cluster_id or EVERYTHING)
            now = ledger.clock.now_ms()
            until = None if lasting_s is None else now + lasting_s * 1000
            changes = pauses.pause(record, by=who, why=why, until=until, now=now)
            if await ledger.commit(changes) is Committed.OK:
                if cluster_id is not None:
                    await _say_what_goes_on(ledger, cluster_id)
                return await read_stops(ledger)
        raise Contention("the pause was changed by others again and again")

    _show(with_ledger(write), as_json=as_json)
    return Exit.SUCCEEDED


def resume_sending(cluster_id: str | None, by: str | None, *, as_json: bool) -> Exit:
    """Lift a pause; for a cluster, close its open breakers too. Nothing to lift is no error."""
    if problems := _problems(cluster_id, by=by):
        return _refused(problems, as_json=as_json)
    who = by or name_of_user()

    async def write(ledger: Ledger, _: LedgerSettings) -> list[Stop]:
        for _attempt in range(MOST_CONTENTION):
            changes = await _resumed(ledger, cluster_id, who)
            if changes is None:
                say("nothing was paused here")
                return await read_stops(ledger)
            if await ledger.commit(changes) is Committed.OK:
                say(f"{cluster_id or EVERYTHING} is resumed")
                return await read_stops(ledger)
        raise Contention("the pause was changed by others again and again")

    _show(with_ledger(write), as_json=as_json)
    return Exit.SUCCEEDED


async def _resumed(ledger: Ledger, cluster_id: str | None, by: str) -> Changes | None:
    record = await ledger.pause(cluster_id or EVERYTHING)
    cluster = None if cluster_id is None else await ledger.cluster(cluster_id)
    return pauses.resume(record, cluster, by=by, now=ledger.clock.now_ms())


async def _say_what_goes_on(ledger: Ledger, cluster_id: str) -> None:
    cluster = await ledger.cluster(cluster_id)
    if not cluster.version:
        say(f"scaleout: nothing has been asked for on cluster {cluster_id} so far: is its name right?")
    operation = await ledger.operation(cluster.gate) if cluster.gate else None
    if operation is not None and operation.sent_at is not None:
        say(f"operation {operation.operation_id} is already {operation.state} and goes on")


def _problems(cluster_id: str | None, **texts: str | None) -> list[str]:
    problems = []
    if cluster_id is not None and CLUSTER_ID.fullmatch(cluster_id) is None:
        problems.append(f"--cluster: {cluster_id[:80]!r} is no cluster id: it is ehpc-… or hpc-…")
    for name, text in texts.items():
        if text is not None and not 1 <= len(text.strip()) <= MOST_CHARS:
            option = "--reason" if name == "why" else f"--{name}"
            problems.append(f"{option}: {len(text)} characters: give 1 to {MOST_CHARS}")
    return problems


def _refused(problems: list[str], *, as_json: bool) -> Exit:
    if as_json:
        print_json({"error": {"kind": "invalid", "problems": problems}})
    for problem in problems:
        say(f"scaleout: {problem}")
    return Exit.USAGE


def _show(stops: list[Stop], *, as_json: bool) -> None:
    """All that is stopped now, whatever was asked: one pause may be lifted and another still in force."""
    if as_json:
        print_json([stop.json() for stop in stops])
    elif stops:
        rows = [stop.json() for stop in stops]
        print_table(None, COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
