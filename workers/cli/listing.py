"""`scaleout list` and `scaleout history`."""

from __future__ import annotations

import json
from typing import Any

from config.settings import LedgerSettings
from tasks.ledger.ledger import Ledger
from tasks.lifecycle.standing import read_standing, summary
from tasks.lifecycle.stops import read_stops
from workers.cli.exit_codes import Exit
from workers.cli.ledger_access import with_ledger
from workers.cli.output import print_json, print_table, say

COLUMNS = ("request_id", "state", "cluster_id", "nodes_requested", "nodes_added", "accepted_at", "why")


def show_list(*, ended: bool, limit: int, as_json: bool) -> Exit:
    async def read(ledger: Ledger, _: LedgerSettings) -> list[dict[str, Any]]:
        for stop in await read_stops(ledger):
            say(stop.text)
        ids = await (ledger.ended_requests(limit) if ended else ledger.open_requests(limit))
        found = await ledger.requests(ids)
        known = [found[request_id] for request_id in ids if request_id in found]
        outcomes = await ledger.outcomes([request.request_id for request in known])
        return [
            summary(request, await read_standing(ledger, request), outcome)
            for request, outcome in zip(known, outcomes, strict=True)
        ]

    rows = with_ledger(read)
    if as_json:
        print_json(rows)
    else:
        print_table(None, COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
    return Exit.SUCCEEDED


def show_history(request_id: str, *, as_json: bool) -> Exit:
    lines = with_ledger(lambda ledger, _: ledger.history(request_id))
    if as_json:
        print_json(lines)
    elif lines:
        print_table(None, ("at", "event", "what"), [_row(line) for line in lines])
    if not lines:
        say(f"scaleout: no request {request_id} is known here")
        return Exit.NO_SUCH_REQUEST
    return Exit.SUCCEEDED


def _row(line: dict[str, Any]) -> tuple[str, str, str]:
    about = {name: value for name, value in line.items() if name not in ("at", "event") and value is not None}
    what = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in about.items()
    )
    return line["at"], line["event"], what
