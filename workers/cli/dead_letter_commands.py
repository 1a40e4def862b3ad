"""The commands about messages that could not be read."""

from typing import Annotated

import typer

from workers.cli.arguments import Json, Yes
from workers.cli.help_texts import OPERATORS, examples

dead_letters = typer.Typer(help="Messages that could not be read, and were put aside.", no_args_is_help=True)
LetterId = Annotated[str, typer.Argument(metavar="ID")]


def register(app: typer.Typer) -> None:
    """Add these commands to `scaleout`."""
    app.add_typer(dead_letters, name="dead-letters", rich_help_panel=OPERATORS)


@dead_letters.command("list", epilog=examples("dead-letters list"))
def list_all(json: Json = False) -> None:
    """List them, the newest first."""
    from workers.cli.commands.dead_letters import list_letters

    raise typer.Exit(list_letters(as_json=json))


@dead_letters.command(epilog=examples("dead-letters show"))
def show(name: LetterId, json: Json = False) -> None:
    """Show one whole."""
    from workers.cli.commands.dead_letters import show_letter

    raise typer.Exit(show_letter(name, as_json=json))


@dead_letters.command(epilog=examples("dead-letters requeue"))
def requeue(name: LetterId, json: Json = False) -> None:
    """Put one back into its queue."""
    from workers.cli.commands.dead_letters import requeue_letter

    raise typer.Exit(requeue_letter(name, as_json=json))


@dead_letters.command(epilog=examples("dead-letters clear"))
def clear(yes: Yes = False, json: Json = False) -> None:
    """Forget all of them."""
    from workers.cli.commands.dead_letters import clear_letters

    raise typer.Exit(clear_letters(confirmed=yes, as_json=json))
