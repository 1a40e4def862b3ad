"""`scaleout workers`: who works on this ledger."""

from tasks.views.fleet import fleet
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json

COLUMNS = ("name", "alive", "pid", "version", "since", "last_tick", "policy")


def show_workers(*, as_json: bool) -> Exit:
    """Exit code 1 if no worker is alive."""
    rows = with_ledger(lambda ledger, _: fleet(ledger))
    if as_json:
        print_json(rows)
    elif rows:
        print_table(None, COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
    else:
        echo("no worker has ticked in the last day")
    return Exit.SUCCEEDED if any(row["alive"] for row in rows) else Exit.FAILED
