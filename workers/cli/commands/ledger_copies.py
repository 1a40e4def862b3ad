"""`scaleout ledger export` and `import`."""

import os
from pathlib import Path

from config.settings import LedgerSettings, load
from tasks.ledger.copy_format import NotImportable, checked, key_rows
from tasks.ledger.events import Event
from tasks.ledger.ledger import Ledger
from tasks.ledger.portable import export, write
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
    if file.exists():
        return refuse(f"{file} cannot be written: it exists already", Exit.USAGE, as_json=as_json)
    # Under its own name there is only ever a whole copy, even if this process is killed.
    part = file.with_name(f"{file.name}.partial")

    async def copy(ledger: Ledger, _: LedgerSettings) -> int:
        count = -2  # the first line and the last one are no keys
        with os.fdopen(descriptor, "w", encoding="utf-8") as lines:
            async for line in export(ledger):
                lines.write(f"{line}\n")
                count += 1
            lines.flush()
            os.fsync(lines.fileno())
        return count

    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        count = with_ledger(copy)
        part.rename(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        return refuse(f"{file} cannot be written: {error.strerror or error}", Exit.USAGE, as_json=as_json)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if as_json:
        print_json({"file": str(file), "keys": count})
    echo(f"{file} has {count} keys")
    return Exit.SUCCEEDED


def import_ledger(file: Path, *, confirmed: bool, as_json: bool) -> Exit:
    """Fill a server from a copy, which is read twice: once to check it, and once to write it."""
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            head = checked(lines, load(LedgerSettings).key_prefix)
            if not confirmed and not confirm(QUESTION):
                return Exit.USAGE
            lines.seek(0)

            async def fill(ledger: Ledger, _: LedgerSettings) -> int:
                count = await write(ledger, head, key_rows(lines))
                event = Event("ledger_imported", "warning", fields={"keys": count}, in_journal=True)
                await ledger.record(event)
                return count

            count = with_ledger(fill)
    except UnicodeDecodeError:
        return refuse(f"{file} cannot be read: it is not UTF-8", Exit.USAGE, as_json=as_json)
    except NotImportable as error:
        more = [f"and {len(error.problems) - SHOWN} more"] if len(error.problems) > SHOWN else []
        text = "; ".join([*error.problems[:SHOWN], *more])
        return refuse(f"{file}: {text}; nothing was imported", Exit.USAGE, as_json=as_json)
    except OSError as error:
        return refuse(f"{file} cannot be read: {error.strerror or error}", Exit.USAGE, as_json=as_json)
    if as_json:
        print_json({"file": str(file), "keys": count})
    echo(f"{count} keys were written")
    echo(NEXT)
    return Exit.SUCCEEDED
