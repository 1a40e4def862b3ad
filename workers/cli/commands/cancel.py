"""`scaleout cancel`."""

from __future__ import annotations

from config.settings import LedgerSettings
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.ledger import Ledger
from tasks.ledger.transactions import MOST_CONTENTION, Contention
from tasks.state_machine.request_outcome import cancel_request
from workers.cli.commands.status import show_status
from workers.cli.exit_codes import Exit
from workers.cli.person import name_of_user
from workers.cli.session import with_ledger
from workers.cli.terminal import say


def cancel_by_id(request_id: str, by: str | None, *, as_json: bool) -> Exit:
    """Written to the ledger, so it holds whether a worker runs or not."""
    who = by or name_of_user()

    async def write(ledger: Ledger, _: LedgerSettings) -> None:
        for _attempt in range(MOST_CONTENTION):
            request = await ledger.request(request_id)
            if request is None:
                return
            if request.ended:
                say(f"{request_id} had ended before: nothing was cancelled")
                return
            if request.cancelled:
                say(f"{request_id} was cancelled before")
                return
            changes = Changes()
            cancel_request(changes, request, ledger.clock.now_ms(), by=who)
            if await ledger.commit(changes) is Committed.OK:
                say(f"{request_id} takes no further nodes")
                return
        raise Contention(f"request {request_id} was changed by others again and again")

    with_ledger(write)
    code = show_status(request_id, as_json=as_json)
    return code if code is Exit.NO_SUCH_REQUEST else Exit.SUCCEEDED
