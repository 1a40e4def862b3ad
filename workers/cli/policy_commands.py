"""The commands about the policy file and its schedules."""

from pathlib import Path
from typing import Annotated

import typer

from workers.cli.arguments import Json, Yes
from workers.cli.help_texts import POLICY, examples

policy = typer.Typer(no_args_is_help=True, help="The policy file: limits, what is allowed, schedules.")
schedules = typer.Typer(help="The schedules in force, their next occurrences, and their last results.")


def register(app: typer.Typer) -> None:
    """Add these commands to `scaleout`."""
    app.add_typer(policy, name="policy", rich_help_panel=POLICY)
    app.add_typer(schedules, name="schedules", rich_help_panel=POLICY)


@policy.command(epilog=examples("check"))
def check(file: Annotated[Path, typer.Argument(metavar="FILE")], json: Json = False) -> None:
    """List every mistake in a policy file. Exit code 2 if there is one."""
    from workers.cli.commands.policy import check_policy

    raise typer.Exit(check_policy(file, as_json=json))


@policy.command(epilog=examples("show"))
def show(json: Json = False) -> None:
    """Show the policy that SCALEOUT_POLICY_FILE names, with its defaults."""
    from workers.cli.commands.policy import show_policy

    raise typer.Exit(show_policy(as_json=json))


@schedules.callback(invoke_without_command=True)
def list_schedules(context: typer.Context, json: Json = False) -> None:
    if context.invoked_subcommand is None:
        from workers.cli.commands.schedules import show_schedules

        raise typer.Exit(show_schedules(as_json=json))


@schedules.command(epilog=examples("trigger"))
def trigger(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be requested.")] = False,
    by: Annotated[str | None, typer.Option(help="Who triggers it; recorded in the history.")] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Request a schedule's nodes now, beside its occurrences, by a request of its own."""
    from workers.cli.commands.trigger_schedule import trigger_schedule

    raise typer.Exit(trigger_schedule(name, dry_run=dry_run, by=by, confirmed=yes, as_json=json))
