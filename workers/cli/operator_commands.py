"""The commands of operators: cancel, pause, resume, resolve, quota, workers, doctor, health."""

from typing import Annotated

import typer

from workers.cli.arguments import Json, RequestId, Yes
from workers.cli.help_texts import OPERATORS, examples


def register(app: typer.Typer) -> None:
    """Add these commands to `scaleout`."""
    for command in (cancel, pause, resume, resolve, quota, workers, doctor, health):
        name = command.__name__
        app.command(name, rich_help_panel=OPERATORS, epilog=examples(name))(command)


def cancel(
    request_id: RequestId,
    by: Annotated[str | None, typer.Option(help="Who cancels; recorded in the history.")] = None,
    json: Json = False,
) -> None:
    """Cancel a request: it gets no further nodes. What was sent continues to its end."""
    from workers.cli.commands.cancel import cancel_by_id

    raise typer.Exit(cancel_by_id(request_id, by, as_json=json))


def pause(
    cluster_id: Annotated[
        str | None, typer.Option("--cluster", help="Only this cluster; without it, everything.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; shown wherever the pause is shown.")] = None,
    lasting: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="End the pause after 90s, 30m, 2h or 1h30m."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who pauses; recorded.")] = None,
    extend: Annotated[
        bool, typer.Option("--extend-deadlines", help="With --for: move the deadlines of what waits, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Submit nothing new. Running jobs are polled to their end, and requests are still accepted."""
    from workers.cli.commands.pause import pause_submissions

    raise typer.Exit(pause_submissions(cluster_id, reason, lasting, by, extend=extend, as_json=json))


def resume(
    cluster_id: Annotated[
        str | None,
        typer.Option("--cluster", help="This cluster's pause and breakers; without it, everything's pause."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who resumes; recorded.")] = None,
    json: Json = False,
) -> None:
    """Lift a pause, and show what is still paused."""
    from workers.cli.commands.pause import resume_submissions

    raise typer.Exit(resume_submissions(cluster_id, by, as_json=json))


def resolve(
    name: Annotated[str, typer.Argument(metavar="ID", help="A held operation, or its request.")],
    adopt: Annotated[str | None, typer.Option(metavar="JOB_ID", help="It became this job.")] = None,
    not_executed: Annotated[
        bool, typer.Option("--not-executed", help="The provider never executed it: request its nodes again.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why; recorded in the history.")] = None,
    by: Annotated[str | None, typer.Option(help="Who decides; recorded in the history.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overrule what the provider's log cannot show; recorded.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Show the evidence about a held operation, and decide it. The provider's log is asked first."""
    from workers.cli.commands.resolve import Choice, resolve_held

    choice = Choice(adopt, not_executed, reason, by, confirmed=yes, force=force)
    raise typer.Exit(resolve_held(name, choice, as_json=json))


def quota(
    plan: Annotated[
        bool, typer.Option("--plan", help="Compute what a load takes; nothing is read from Redis.")
    ] = False,
    jobs: Annotated[
        str | None, typer.Option(metavar="N", help="With --plan: jobs (addNodes calls) in an hour.")
    ] = None,
    clusters: Annotated[
        str | None, typer.Option(metavar="N", help="With --plan: clusters that they are spread over.")
    ] = None,
    zones: Annotated[
        str | None, typer.Option(metavar="N", help="With --plan: zones of these clusters. Default: 1.")
    ] = None,
    nodes: Annotated[
        str | None, typer.Option(metavar="N", help="With --plan: nodes of a job, 1 to 99. Default: 1.")
    ] = None,
    requests: Annotated[
        str | None, typer.Option(metavar="N", help="With --plan: requests that share a job. Default: 1.")
    ] = None,
    job_duration: Annotated[
        str | None, typer.Option(metavar="DURATION", help="With --plan: how long a job lasts. Default: 2m.")
    ] = None,
    json: Json = False,
) -> None:
    """Show how many of the account's API calls are used, or with --plan what a load would take."""
    given = {"jobs": jobs, "clusters": clusters, "zones": zones, "nodes": nodes}
    given |= {"requests": requests, "job_duration": job_duration}
    if plan:
        from workers.cli.commands.quota_plan import show_plan

        raise typer.Exit(show_plan(given, as_json=json))
    from workers.cli.commands.quota import refuse_options, show_quota

    raise typer.Exit(refuse_options(given, as_json=json) or show_quota(as_json=json))


def workers(json: Json = False) -> None:
    """Show the workers of the last day, and which are alive."""
    from workers.cli.commands.workers import show_workers

    raise typer.Exit(show_workers(as_json=json))


def doctor(
    zone: Annotated[
        str | None, typer.Option(help="Zone of the one call that checks the credentials.")
    ] = None,
    acknowledge_data_loss: Annotated[
        bool,
        typer.Option("--acknowledge-data-loss", help="Send again, though data is missing from the ledger."),
    ] = False,
    acknowledge_account: Annotated[
        bool,
        typer.Option("--acknowledge-account", help="The access key is a new one of the ledger's account."),
    ] = False,
    by: Annotated[str | None, typer.Option(help="Who acknowledges; recorded.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; recorded.")] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Check settings, Redis, clocks and credentials, and list what needs an operator."""
    from workers.cli.commands.doctor import Acknowledge, examine

    acknowledge = Acknowledge(acknowledge_data_loss, by, reason, confirmed=yes)
    raise typer.Exit(examine(zone, acknowledge, acknowledge_account=acknowledge_account, as_json=json))


def health(
    within_s: Annotated[
        float,
        typer.Option("--within", min=1, metavar="SECONDS", help="More than three times SCALEOUT_TICK_S."),
    ] = 30,
    worker: Annotated[str | None, typer.Option(help="Only this worker, by its node name.")] = None,
    anywhere: Annotated[bool, typer.Option("--any", help="Any worker, on any host.")] = False,
    json: Json = False,
) -> None:
    """Check that a worker of this host ticks, for probes: exit code 0 if so, 1 if not."""
    from workers.cli.commands.health import show_health

    raise typer.Exit(show_health(within_s, worker, anywhere=anywhere, as_json=json))
