"""`scaleout status` and `scaleout wait`."""

import asyncio
import math
import time
from typing import Any

from config.settings import LedgerSettings
from tasks.ledger.ledger import Ledger
from tasks.views.read_status import read_documents
from workers.cli.exit_codes import Exit, for_state
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json, refuse

CHECK_INTERVAL_S = 1.0
IDS_SHOWN = 5
# Of these reasons it is known when they end; of all others, when the next attempt is made.
ENDS_AT = frozenset({"pause", "breaker", "not_before", "quota"})
ONLY_WIDE = frozenset({"submitted_at", "finished_at", "error_codes"})


async def read_document(ledger: Ledger, request_id: str) -> dict[str, Any] | None:
    """Return the status document of a request; None if it is not known."""
    request = await ledger.request(request_id)
    return None if request is None else (await read_documents(ledger, [request]))[0]


def show_status(request_id: str, *, as_json: bool, wide: bool = False) -> Exit:
    """Show the status document. Exit code 3 if it has not ended."""
    found = with_ledger(lambda ledger, _: read_document(ledger, request_id))
    if found is None:
        return _unknown(request_id, as_json=as_json)
    print_status(found, as_json=as_json, wide=wide)
    return for_state(found["state"]) if found["outcome"] else Exit.NOT_ENDED


def wait_for_outcome(request_id: str, timeout_s: float | None, *, as_json: bool) -> Exit:
    """Wait for the end of a request, at most `timeout_s` seconds."""

    async def wait(ledger: Ledger, _: LedgerSettings) -> dict[str, Any] | None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        reported = None
        while True:
            # Python 3.11's wait_for, which redis-py uses, may swallow the cancellation that a Ctrl-C is.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError
            # Read the stream's end before the request: an end in between is seen by the next read.
            last = await ledger.last_outcome_id()
            found = await read_document(ledger, request_id)
            if found is None or found["outcome"] is not None:
                return found
            if (found["state"], found["reason"]) != reported:
                reported = (found["state"], found["reason"])
                echo(f"{request_id} {found['state']}: {reason_text(found['reason'])}")
            left_s = math.inf if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                return found
            await ledger.next_outcome(last, round(min(left_s, CHECK_INTERVAL_S) * 1000))

    found = with_ledger(wait)
    if found is None:
        return _unknown(request_id, as_json=as_json)
    if found["outcome"] is None:
        echo(f"scaleout: {request_id} has not ended after {timeout_s:g} s: it is {found['state']}")
    print_status(found, as_json=as_json)
    return for_state(found["state"]) if found["outcome"] else Exit.NOT_ENDED


def print_status(found: dict[str, Any], *, as_json: bool, wide: bool = False) -> None:
    """Print a status document; for people, the outcome of a request that has ended.

    Args:
        wide: every node's id, however many there are.
    """
    if as_json:
        print_json(found)
    else:
        print_details(found["outcome"] or found, wide=wide)


def print_details(outcome: dict[str, Any], *, wide: bool = False) -> None:
    """Print an outcome, or a status document, for people."""
    _print_fields(outcome, wide=wide)
    if operations := outcome["operations"]:
        columns = [name for name in operations[0] if wide or name not in ONLY_WIDE]
        print_table(None, columns, [[row[name] for name in columns] for row in operations])


def _print_fields(fields: dict[str, Any], *, wide: bool) -> None:
    shown = {
        name: value for name, value in fields.items() if name not in ("operations", "outcome", "version")
    }
    if shown.get("error"):
        shown["error"] = f"{shown['error']['kind']}: {shown['error']['message']}"
    if shown.get("reason"):
        shown["reason"] = reason_text(shown["reason"])
    if "node_ids" in shown:
        shown["node_ids"] = _some(shown["node_ids"], wide=wide)
    print_table(
        None, ["field", "value"], [[name, value] for name, value in shown.items() if value is not None]
    )


def _some(ids: list[str], *, wide: bool) -> str:
    if wide or len(ids) <= IDS_SHOWN:
        return " ".join(ids)
    return f"{' '.join(ids[:IDS_SHOWN])} and {len(ids) - IDS_SHOWN} more (-o wide shows all)"


def reason_text(reason: dict[str, Any] | None) -> str:
    """Return the reason of a status document as a line."""
    if reason is None:
        return ""
    word = "until" if reason["kind"] in ENDS_AT else "next try at"
    said = reason["until"] is None or reason["until"] in reason["message"]
    until = "" if said else f", {word} {reason['until']}"
    remedy = f" ({reason['remedy']})" if reason["remedy"] else ""
    return f"{reason['message']}{until}{remedy}"


def _unknown(request_id: str, *, as_json: bool) -> Exit:
    return refuse(f"no request {request_id} is known here", Exit.NOT_FOUND, as_json=as_json)
