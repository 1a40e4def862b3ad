"""The commands of the HTTP gateway."""

from enum import StrEnum
from typing import Annotated

import typer

from workers.cli.arguments import Json
from workers.cli.help_texts import PROCESSES, examples

gateway = typer.Typer(help="The HTTP gateway: requests, events and operating over HTTP.")


class RoleOption(StrEnum):
    read = "read"
    submit = "submit"
    operate = "operate"


def register(app: typer.Typer) -> None:
    """Add these commands to `scaleout`."""
    app.add_typer(gateway, name="gateway", rich_help_panel=PROCESSES)


@gateway.callback(invoke_without_command=True)
def run(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        from workers.cli.commands.gateway import run_gateway

        raise typer.Exit(run_gateway())


@gateway.command(epilog=examples("gateway token"))
def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The client's name.")],
    role: Annotated[RoleOption, typer.Option(help="What it may do; each may do what those before it may.")],
    json: Json = False,
) -> None:
    """Print a new token, once, and the table that lets the gateway accept it."""
    from workers.cli.commands.gateway import print_token

    raise typer.Exit(print_token(name, role.value, as_json=json))
