"""`scaleout history`: all events of a request, or the requests of a cluster, a time or a producer."""

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, get_args

from config.timestamps import timestamp
from tasks.contract import documents
from tasks.contract.outcome import OutcomeStatus
from tasks.ledger.ended_index import narrowest_index
from tasks.ledger.history_pages import histories, newest_first
from tasks.ledger.ledger import Ledger
from tasks.views.history import HistoryFilter, history_entry
from workers.cli.durations import InvalidDuration, parse_since
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_rows, print_table
from workers.cli.terminal import echo, print_json, refuse

COLUMNS = (
    "request_id",
    "state",
    "cluster_id",
    "nodes_requested",
    "nodes_added",
    "requested_by",
    "accepted_at",
)
TIMES_MS = ("sent_at",)
NOT_ENDED = get_args(documents.NotEnded)
ENDED = get_args(OutcomeStatus)


@dataclass(frozen=True, slots=True)
class Filters:
    """The options of the command."""

    cluster_id: str | None
    since: str | None
    requested_by: str | None
    status: str | None
    limit: int

    @property
    def given(self) -> bool:
        return any((self.cluster_id, self.since, self.requested_by, self.status))


def show_history(request_id: str | None, filters: Filters, *, events: bool, as_json: bool) -> Exit:
    """Show one request's events, what stopped submissions, or one entry a request, latest first."""
    if (request_id is not None) + events + filters.given > 1:
        problem = "a request, --events and filters exclude each other: use one of them"
        return refuse(problem, Exit.USAGE, as_json=as_json)
    if request_id is not None:
        return _of_request(request_id, as_json=as_json)
    if events:
        return _show_lines(with_ledger(lambda ledger, _: ledger.overview.journal()), as_json=as_json)
    if filters.status is not None and filters.status not in (*ENDED, *NOT_ENDED):
        problem = f"--status: {filters.status!r} is not one of {', '.join((*ENDED, *NOT_ENDED))}"
        return refuse(problem, Exit.USAGE, as_json=as_json)
    try:
        parse_since(filters.since or "1s", 0)
    except InvalidDuration as error:
        return refuse(f"--since: {error}", Exit.USAGE, as_json=as_json)
    with_ledger(lambda ledger, _: _stream(ledger, filters, as_json=as_json))
    return Exit.SUCCEEDED


def _of_request(request_id: str, *, as_json: bool) -> Exit:
    lines = with_ledger(lambda ledger, _: ledger.overview.history(request_id))
    if not lines:
        return refuse(f"no request {request_id} is known here", Exit.NOT_FOUND, as_json=as_json)
    return _show_lines(lines, as_json=as_json)


def _show_lines(lines: list[dict[str, Any]], *, as_json: bool) -> Exit:
    if as_json:
        print_json(lines)
    elif lines:
        print_table(None, ("at", "event", "what"), [_row(line) for line in lines])
    return Exit.SUCCEEDED


async def _stream(ledger: Ledger, filters: Filters, *, as_json: bool) -> None:
    """Print one JSON array while it is read; or a table, which `--limit` bounds."""
    rows = []
    shown = 0
    out = sys.stdout
    unicode = out.encoding.lower().startswith("utf")
    if as_json:
        out.write("[")
    async for entry in _entries(ledger, filters):
        if shown == filters.limit:
            echo(f"only {shown} are shown and there are more: raise --limit or filter further")
            break
        if as_json:
            out.write((",\n " if shown else "") + json.dumps(entry, ensure_ascii=not unicode))
        else:
            rows.append((*(entry[column] for column in COLUMNS), _what(entry)))
        shown += 1
    if as_json:
        out.write("]\n")
        out.flush()
    else:
        print_rows(COLUMNS, rows, "what")


async def _entries(ledger: Ledger, filters: Filters) -> AsyncIterator[dict[str, Any]]:
    """Yield those that have not ended, newest first, then those that have, latest end first."""
    now = ledger.clock.now_ms()
    since = None if filters.since is None else parse_since(filters.since, now)
    matching = HistoryFilter(filters.cluster_id, filters.requested_by, filters.status, since)
    given: set[str] = set()
    if filters.status is None or filters.status in NOT_ENDED:
        async for page in _open(ledger, filters.cluster_id):
            async for entry in _of_page(ledger, page, matching):
                given.add(entry["request_id"])
                yield entry
    if filters.status is None or filters.status in ENDED:
        index = await narrowest_index(
            ledger,
            cluster_id=filters.cluster_id,
            requested_by=filters.requested_by,
            status=filters.status,
        )
        async for page in newest_first(ledger, index, since=since):
            # A request that has ended since the first page was read may have been yielded already.
            async for entry in _of_page(ledger, [name for name in page if name not in given], matching):
                yield entry


async def _open(ledger: Ledger, cluster_id: str | None) -> AsyncIterator[list[str]]:
    """Yield pages of the requests that have not ended, newest first."""
    if cluster_id is None:
        async for page in newest_first(ledger, ledger.keys.index("open")):
            yield page
    else:
        found = await ledger.overview.open_of_cluster(cluster_id)
        yield [request.request_id for request in reversed(found)]


async def _of_page(ledger: Ledger, page: list[str], matching: HistoryFilter) -> AsyncIterator[dict[str, Any]]:
    found = await ledger.requests(page, readable_only=True)
    requests = [found[name] for name in page if name in found]
    requests = [request for request in requests if matching.matches(request)]
    lines = await histories(ledger, [request.request_id for request in requests])
    for request, its_lines in zip(requests, lines, strict=True):
        yield history_entry(request, its_lines)


def _what(entry: dict[str, Any]) -> str:
    """Return the attempts and the outcome's error in a line."""
    attempts = ", ".join(
        f"{one['job_id'] or one['operation_id']} {one['state']}" for one in entry["attempts"]
    )
    error = entry["error"]
    return (
        attempts if error is None else f"{attempts}; {error['kind']}: {error['message']}".removeprefix("; ")
    )


def _row(line: dict[str, Any]) -> tuple[str, str, str]:
    about = {name: value for name, value in line.items() if name not in ("at", "event") and value is not None}
    about |= {name: timestamp(about[name]) for name in TIMES_MS if isinstance(about.get(name), int)}
    what = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in about.items()
    )
    return line["at"], line["event"], what
