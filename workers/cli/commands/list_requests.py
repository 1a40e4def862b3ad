"""`scaleout list`."""

import time
from typing import Any

from config.settings import LedgerSettings
from config.timestamps import milliseconds
from tasks.ledger.ledger import Ledger
from tasks.views.blockers import read_blockers
from tasks.views.history import HistoryFilter
from tasks.views.request_list import RequestList, read_list
from workers.cli.arguments import Output
from workers.cli.commands.history import ENDED, NOT_ENDED
from workers.cli.commands.status import reason_text
from workers.cli.durations import age_text
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_rows
from workers.cli.terminal import clear_screen, echo, print_json, refuse

COLUMNS = ("request_id", "state", "cluster_id", "nodes", "age")
WIDE = (*COLUMNS, "zone", "role", "requested_by", "accepted_at", "deadline_at", "jobs")
WATCH_S = 2.0


def show_list(wanted: HistoryFilter, *, ended: bool, limit: int, output: Output, watch: bool) -> Exit:
    """List requests. `watch`: again and again, until Ctrl-C."""
    as_json = output is Output.json
    known = ENDED if ended else NOT_ENDED
    if wanted.state is not None and wanted.state not in known:
        other = (
            ""
            if wanted.state not in (*NOT_ENDED, *ENDED)
            else f"; {'without' if ended else 'with'} --ended it is"
        )
        problem = f"--state {wanted.state!r} is not one of {', '.join(known)}{other}"
        return refuse(problem, Exit.USAGE, as_json=as_json)
    if watch and as_json:
        return refuse("--watch is for people: run the command again for JSON", Exit.USAGE, as_json=True)

    async def read(ledger: Ledger, _: LedgerSettings) -> tuple[RequestList, int]:
        for blocker in await read_blockers(ledger):
            echo(blocker.text)
        return await read_list(ledger, wanted, ended=ended, limit=limit), ledger.clock.now_ms()

    while True:
        if watch:
            clear_screen()
        _print(*with_ledger(read), output)
        if not watch:
            return Exit.SUCCEEDED
        time.sleep(WATCH_S)


def _print(found: RequestList, now: int, output: Output) -> None:
    if output is Output.json:
        print_json(found.rows)
        return
    columns = WIDE if output is Output.wide else COLUMNS
    rows = [[*_cells(row, now, columns), _why(row)] for row in found.rows]
    print_rows(columns, rows, "reason")
    shown = len(found.rows)
    if found.matching is None:
        echo(f"the latest {shown} are shown, and there are more: --limit shows more")
    elif found.matching > shown:
        echo(f"{shown} of {found.matching:,} shown: --limit shows more")


def _why(row: dict[str, Any]) -> str:
    """Return why a request waits, or ended otherwise than it should."""
    error = None if row["outcome"] is None else row["outcome"]["error"]
    return reason_text(row["reason"]) if error is None else f"{error['kind']}: {error['message']}"


def _cells(row: dict[str, Any], now: int, columns: tuple[str, ...]) -> list[object]:
    requested = row["nodes_requested"]
    cells = {
        **row,
        "nodes": f"{row['nodes_added']}/{'-' if requested is None else requested}",
        "age": age_text((now - milliseconds(row["accepted_at"])) / 1000),
        "role": row["node_role"],
        "jobs": " ".join(one["job_id"] for one in row["operations"] if one["job_id"]),
    }
    return [cells[column] for column in columns]
