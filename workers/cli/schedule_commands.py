"""The commands about policy, schedules and health, as typer has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for programs.")]

policy = typer.Typer(no_args_is_help=True, help="The policy file: limits, what is allowed, schedules.")
schedules = typer.Typer(help="The schedules that are in force, their next moments and what came of the last.")


def register(app: typer.Typer) -> None:
    app.add_typer(policy, name="policy")
    app.add_typer(schedules, name="schedules")
    app.command()(health)


@policy.command()
def check(file: Annotated[Path, typer.Argument(metavar="FILE")], json: Json = False) -> None:
    """Tell every mistake in a policy file. Exit code 2 if there is one."""
    from workers.cli.commands.policy import check_policy

    raise typer.Exit(check_policy(file, as_json=json))


@policy.command()
def show(json: Json = False) -> None:
    """What the policy file that SCALEOUT_POLICY_FILE names comes to."""
    from workers.cli.commands.policy import show_policy

    raise typer.Exit(show_policy(as_json=json))


@schedules.callback(invoke_without_command=True)
def list_schedules(context: typer.Context, json: Json = False) -> None:
    if context.invoked_subcommand is None:
        from workers.cli.commands.schedules import show_schedules

        raise typer.Exit(show_schedules(as_json=json))


@schedules.command()
def run(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be asked for.")] = False,
    by: Annotated[str | None, typer.Option(help="Who runs it; recorded in the history.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    json: Json = False,
) -> None:
    """Ask for a schedule's nodes now, beside its moments, by a request of its own."""
    from workers.cli.commands.trigger_schedule import run_schedule

    raise typer.Exit(run_schedule(name, dry_run=dry_run, by=by, confirmed=yes, as_json=json))


def health(
    within_s: Annotated[
        float,
        typer.Option("--within", min=1, metavar="SECONDS", help="Longer than three times SCALEOUT_TICK_S."),
    ] = 30,
    worker: Annotated[str | None, typer.Option(help="This worker, by its node name.")] = None,
    anywhere: Annotated[bool, typer.Option("--any", help="Any worker will do, on any host.")] = False,
    json: Json = False,
) -> None:
    """Whether a worker of this host ticks: exit code 0 if so, 1 if not. For probes."""
    from workers.cli.commands.health import show_health

    raise typer.Exit(show_health(within_s, worker, anywhere=anywhere, as_json=json))
