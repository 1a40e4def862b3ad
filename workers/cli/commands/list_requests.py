"""`scaleout list`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.settings import LedgerSettings
from tasks.ledger.ledger import Ledger
from tasks.views.blockers import read_blockers
from tasks.views.status import read_status, status_document
from workers.cli.commands.status import reason_text
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.terminal import echo, print_json, print_table

COLUMNS = ("request_id", "state", "cluster_id", "nodes", "accepted_at", "reason")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests are listed; None: whatever they have."""

    state: str | None = None
    cluster_id: str | None = None
    requested_by: str | None = None

    def fits(self, row: Mapping[str, Any]) -> bool:
        return (
            self.state in (None, row["state"])
            and self.cluster_id in (None, row["cluster_id"])
            and self.requested_by in (None, row["requested_by"])
        )


def show_list(wanted: Wanted, *, ended: bool, limit: int, as_json: bool) -> Exit:
    async def read(ledger: Ledger, _: LedgerSettings) -> tuple[list[dict[str, Any]], int]:
        for blocker in await read_blockers(ledger):
            echo(blocker.text)
        ids = await (ledger.overview.ended_requests(limit) if ended else ledger.overview.open_requests(limit))
        found = await ledger.requests(ids, readable_only=True)
        known = [found[request_id] for request_id in ids if request_id in found]
        outcomes = await ledger.outcomes([request.request_id for request in known])
        rows = [
            status_document(request, await read_status(ledger, request), outcome)
            for request, outcome in zip(known, outcomes, strict=True)
        ]
        in_all = len(rows) if ended else await ledger.overview.open_count()
        return [row for row in rows if wanted.fits(row)], in_all

    rows, in_all = with_ledger(read)
    if as_json:
        print_json(rows)
    else:
        print_table(None, COLUMNS, [_cells(row) for row in rows])
        if in_all > limit:
            echo(f"the oldest {limit} of {in_all} were looked at: --limit looks at more")
    return Exit.SUCCEEDED


def _cells(row: dict[str, Any]) -> list[object]:
    """Return cells that fit a terminal of eighty columns."""
    requested = row["nodes_requested"]
    return [
        row["request_id"],
        row["state"],
        row["cluster_id"],
        f"{row['nodes_added']}/{'-' if requested is None else requested}",
        # To the second, as in 2026-01-31 23:59:59
        str(row["accepted_at"])[:19].replace("T", " "),
        reason_text(row["reason"]),
    ]
