"""`scaleout cancel`."""

from config.settings import LedgerSettings
from tasks import admin
from tasks.admin import CancelResult
from tasks.ledger.ledger import Ledger
from workers.cli.commands.status import show_status
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.terminal import echo, user_name

MESSAGES = {
    CancelResult.ENDED_BEFORE: "had ended before: nothing was cancelled",
    CancelResult.CANCELLED_BEFORE: "was cancelled before",
    CancelResult.CANCELLED: "is cancelled: it gets no further nodes",
}


def cancel_by_id(request_id: str, by: str | None, *, as_json: bool) -> Exit:
    """Cancel in the ledger, which holds whether a worker runs or not."""

    async def cancel(ledger: Ledger, _: LedgerSettings) -> CancelResult:
        return await admin.cancel(ledger, request_id, by=by or user_name())

    result = with_ledger(cancel)
    if result in MESSAGES:
        echo(f"{request_id} {MESSAGES[result]}")
    code = show_status(request_id, as_json=as_json)
    return code if code is Exit.NOT_FOUND else Exit.SUCCEEDED
