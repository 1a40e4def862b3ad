"""The commands about webhooks."""

from typing import Annotated

import typer

from workers.cli.arguments import Json
from workers.cli.help_texts import OPERATORS, examples

webhooks = typer.Typer(help="Who is told of what happens, by HTTP.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Add these commands to `scaleout`."""
    app.add_typer(webhooks, name="webhooks", rich_help_panel=OPERATORS)


@webhooks.command("list", epilog=examples("webhooks list"))
def list_all(json: Json = False) -> None:
    """List the webhooks in force, and how each fares."""
    from workers.cli.commands.webhooks import list_webhooks

    raise typer.Exit(list_webhooks(as_json=json))


@webhooks.command("test", epilog=examples("webhooks test"))
def send_test(name: Name, json: Json = False) -> None:
    """Have a worker send a message of type `test`, and say what was answered."""
    from workers.cli.commands.webhooks import test_webhook

    raise typer.Exit(test_webhook(name, as_json=json))


@webhooks.command(epilog=examples("webhooks replay"))
def replay(
    name: Name,
    since: Annotated[str, typer.Option(metavar="WHEN", help="A duration such as 2h, or an ISO 8601 time.")],
    json: Json = False,
) -> None:
    """Tell it again of the requests that have ended since then, each with the same id as before."""
    from workers.cli.commands.webhooks import replay_outcomes

    raise typer.Exit(replay_outcomes(name, since, as_json=json))


@webhooks.command(epilog=examples("webhooks enable"))
def enable(name: Name, json: Json = False) -> None:
    """Tell a disabled webhook of things again, beginning with what is pending."""
    from workers.cli.commands.webhooks import enable_webhook

    raise typer.Exit(enable_webhook(name, as_json=json))
