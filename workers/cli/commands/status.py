"""`scaleout status` and `scaleout wait`."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from config.settings import LedgerSettings
from tasks.ledger.ledger import Ledger
from tasks.views.status import read_standing, summary
from workers.cli.exit_codes import Exit, for_state
from workers.cli.session import with_ledger
from workers.cli.terminal import print_json, print_table, say

LOOK_EVERY_S = 1.0


async def _read(ledger: Ledger, request_id: str) -> dict[str, Any] | None:
    request = await ledger.request(request_id)
    (outcome,) = await ledger.outcomes([request_id])
    if request is None:
        return None
    return summary(request, await read_standing(ledger, request), outcome)


def show_status(request_id: str, *, as_json: bool) -> Exit:
    found = with_ledger(lambda ledger, _: _read(ledger, request_id))
    if found is None:
        return _unknown(request_id, as_json=as_json)
    _print_status(found, as_json=as_json)
    return for_state(found["state"]) if found["outcome"] else Exit.SUCCEEDED


def wait_for_outcome(request_id: str, timeout_s: float | None, *, as_json: bool) -> Exit:
    """Wait for the end of a request, at most `timeout_s`."""

    async def wait(ledger: Ledger, _: LedgerSettings) -> dict[str, Any] | None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        said = None
        while True:
            # Python 3.11's wait_for, which redis-py uses, may swallow the cancellation that a Ctrl-C is.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError
            # Read the stream's end before the request: an end in between is seen by the next read.
            last = await ledger.last_outcome_id()
            found = await _read(ledger, request_id)
            if found is None or found["outcome"] is not None:
                return found
            if (found["state"], found["why"]) != said:
                said = (found["state"], found["why"])
                say(f"{request_id} {found['state']}: {found['why']}")
            left_s = math.inf if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                return found
            await ledger.next_outcome(last, round(min(left_s, LOOK_EVERY_S) * 1000))

    found = with_ledger(wait)
    if found is None:
        return _unknown(request_id, as_json=as_json)
    if found["outcome"] is None:
        say(f"scaleout: {request_id} is still {found['state']} after {timeout_s:g} s")
        _print_status(found, as_json=as_json)
        return Exit.STILL_GOING
    print_outcome(found["outcome"], as_json=as_json)
    return for_state(found["outcome"]["status"])


def print_outcome(outcome: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(outcome)
        return
    _print_fields(outcome)
    operations = outcome["operations"]
    if operations:
        columns = list(operations[0])
        print_table(None, columns, [[row[name] for name in columns] for row in operations])


def _print_status(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif found["outcome"] is not None:
        print_outcome(found["outcome"], as_json=False)
    else:
        _print_fields(found)


def _print_fields(fields: dict[str, Any]) -> None:
    shown = {
        name: value for name, value in fields.items() if name not in ("operations", "outcome", "version")
    }
    if shown.get("error"):
        error = shown["error"]
        shown["error"] = f"{error['kind']}: {error['message']}"
    if "node_ids" in shown:
        shown["node_ids"] = " ".join(shown["node_ids"])
    print_table(
        None, ["field", "value"], [[name, value] for name, value in shown.items() if value is not None]
    )


def _unknown(request_id: str, *, as_json: bool) -> Exit:
    if as_json:
        print_json({"request_id": request_id, "state": None, "why": "no such request", "outcome": None})
    say(f"scaleout: no request {request_id} is known here")
    return Exit.NO_SUCH_REQUEST
