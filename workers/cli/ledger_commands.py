"""The commands about the ledger as a whole."""

from pathlib import Path
from typing import Annotated

import typer

from workers.cli.arguments import Json, Yes
from workers.cli.help_texts import OPERATORS, examples

ledger = typer.Typer(help="The ledger as a file: a copy, and a server filled from one.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(metavar="FILE", help="Lines of JSON, for its owner alone.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `scaleout`."""
    app.add_typer(ledger, name="ledger", rich_help_panel=OPERATORS)


@ledger.command("export", epilog=examples("ledger export"))
def export_all(file: File, json: Json = False) -> None:
    """Write a copy to a new file; workers may run."""
    from workers.cli.commands.ledger_copies import export_ledger

    raise typer.Exit(export_ledger(file, as_json=json))


@ledger.command("import", epilog=examples("ledger import"))
def import_all(file: File, yes: Yes = False, json: Json = False) -> None:
    """Fill an empty server from a copy. Nothing is sent from it until the data loss is acknowledged."""
    from workers.cli.commands.ledger_copies import import_ledger

    raise typer.Exit(import_ledger(file, confirmed=yes, as_json=json))
