"""`scaleout ledger export` and `import`."""

import os
from pathlib import Path

from config.settings import LedgerSettings
from tasks.ledger.events import Event
from tasks.ledger.ledger import Ledger
from tasks.ledger.portable import NotImportable, export, parsed, write
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.terminal import confirm, echo, print_json, refuse

QUESTION = "Fill the server of SCALEOUT_REDIS_URL from this copy? What came after it is missing there."
NEXT = (
    "nothing is sent until you have compared with the provider (`scaleout doctor --zone ZONE`) and run "
    "`scaleout doctor --acknowledge-data-loss`"
)
SHOWN = 10


def export_ledger(file: Path, *, as_json: bool) -> Exit:
    """Write a copy. The file is readable by its owner alone: it names machines and people."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        return refuse(f"{file} cannot be written: {error.strerror}", Exit.USAGE, as_json=as_json)

    async def copy(ledger: Ledger, _: LedgerSettings) -> int:
        count = -1  # the first line says what it is
        with os.fdopen(descriptor, "w", encoding="utf-8") as lines:
            async for line in export(ledger):
                lines.write(f"{line}\n")
                count += 1
            lines.flush()
            os.fsync(lines.fileno())
        return count

    try:
        count = with_ledger(copy)
    except BaseException:
        # Half a copy must not look like one.
        file.unlink(missing_ok=True)
        raise
    if as_json:
        print_json({"file": str(file), "keys": count})
    echo(f"{file} has {count} keys")
    return Exit.SUCCEEDED


def import_ledger(file: Path, *, confirmed: bool, as_json: bool) -> Exit:
    try:
        copy = parsed(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        return refuse(f"{file} cannot be read: {reason}", Exit.USAGE, as_json=as_json)
    except NotImportable as error:
        more = [f"and {len(error.problems) - SHOWN} more"] if len(error.problems) > SHOWN else []
        text = "; ".join([*error.problems[:SHOWN], *more])
        return refuse(f"{file}: {text}; nothing was written", Exit.USAGE, as_json=as_json)
    if not confirmed and not confirm(QUESTION):
        return Exit.USAGE

    async def fill(ledger: Ledger, _: LedgerSettings) -> int:
        count = await write(ledger, copy)
        await ledger.record(Event("ledger_imported", "warning", fields={"keys": count}, in_journal=True))
        return count

    try:
        count = with_ledger(fill)
    except NotImportable as error:
        return refuse(f"{error}; nothing was written", Exit.USAGE, as_json=as_json)
    if as_json:
        print_json({"file": str(file), "keys": count})
    echo(f"{count} keys were written")
    echo(NEXT)
    return Exit.SUCCEEDED
