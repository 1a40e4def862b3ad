"""The commands about requests: submit, status, wait, list, history, stats."""

from typing import Annotated

import typer

from workers.cli.arguments import (
    Json,
    NodeRole,
    OnShortage,
    Output,
    OutputOption,
    RequestId,
    Timeout,
    output_of,
    seconds,
)
from workers.cli.help_texts import REQUESTS, examples


def register(app: typer.Typer) -> None:
    """Add these commands to `scaleout`."""
    for command in (submit, status, wait, list_requests, history, stats):
        name = command.__name__.removesuffix("_requests")
        app.command(name, rich_help_panel=REQUESTS, epilog=examples(name))(command)


def submit(
    cluster_id: Annotated[str, typer.Option("--cluster", help="ehpc-… or hpc-…")],
    zone: Annotated[str, typer.Option(help="The cluster's zone, such as jn1a.")],
    node_count: Annotated[int, typer.Option("--nodes", help="How many nodes to add.")],
    node_role: Annotated[
        NodeRole | None, typer.Option("--role", help="Default: compute on ehpc-…, login on hpc-….")
    ] = None,
    request_id: Annotated[
        str | None, typer.Option(help="Idempotency key: the same id with the same content is one request.")
    ] = None,
    node_name: Annotated[str | None, typer.Option("--name", help="Name for the nodes.")] = None,
    private_ips: Annotated[list[str] | None, typer.Option("--ip", help="One for each node, or none.")] = None,
    resource_conf: Annotated[str | None, typer.Option(help="A JSON object for the provider.")] = None,
    deadline_s: Annotated[
        float | None,
        typer.Option("--deadline", metavar="DURATION", parser=seconds, help="When it times out: 2h."),
    ] = None,
    not_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Buy nothing before: 2026-12-01T20:00:00Z.")
    ] = None,
    on_shortage: Annotated[
        OnShortage, typer.Option(help="What to do when the provider has too few nodes.")
    ] = OnShortage.wait,
    requested_by: Annotated[str | None, typer.Option(help="Name of the producer.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate the result; write and send nothing.")
    ] = False,
    wait_for_end: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
    timeout_s: Timeout = None,
    json: Json = False,
) -> None:
    """Write a request to the ledger; it is accepted when this returns."""
    from workers.cli.commands.submit import submit_request

    fields = {
        "request_id": request_id,
        "cluster_id": cluster_id,
        "zone": zone,
        "node_count": node_count,
        "node_role": node_role.value if node_role else None,
        "node_name": node_name,
        "private_ips": private_ips or None,
        "deadline_s": deadline_s,
        "on_shortage": on_shortage.value,
        "requested_by": requested_by,
        "not_before": not_before,
        "dry_run": dry_run or None,
    }
    raise typer.Exit(submit_request(fields, resource_conf, wait_for_end, timeout_s, as_json=json))


def status(request_id: RequestId, output: OutputOption = Output.table, json: Json = False) -> None:
    """Show the state of a request, and what it waits for."""
    from workers.cli.commands.status import show_status

    form = output_of(output, json=json)
    raise typer.Exit(show_status(request_id, as_json=form is Output.json, wide=form is Output.wide))


def wait(request_id: RequestId, timeout_s: Timeout = None, json: Json = False) -> None:
    """Wait until a request has ended, and print its outcome."""
    from workers.cli.commands.status import wait_for_outcome

    raise typer.Exit(wait_for_outcome(request_id, timeout_s, as_json=json))


def list_requests(
    ended: Annotated[bool, typer.Option("--ended", help="Those that have ended, latest first.")] = False,
    state: Annotated[
        str | None, typer.Option(help="Only waiting, in_progress, held, or an outcome's status.")
    ] = None,
    cluster_id: Annotated[str | None, typer.Option("--cluster", help="Only of this cluster.")] = None,
    requested_by: Annotated[str | None, typer.Option(help="Only of this producer.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of requests.")] = 100,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds.")] = False,
    output: OutputOption = Output.table,
    json: Json = False,
) -> None:
    """List the requests that have not ended, oldest first, and what each waits for."""
    from tasks.views.history import HistoryFilter
    from workers.cli.commands.list_requests import show_list

    wanted = HistoryFilter(cluster_id, requested_by, state)
    form = output_of(output, json=json)
    raise typer.Exit(show_list(wanted, ended=ended, limit=limit, output=form, watch=watch))


def history(
    request_id: Annotated[str | None, typer.Argument(metavar="[REQUEST_ID]")] = None,
    cluster_id: Annotated[str | None, typer.Option("--cluster", help="Requests for this cluster.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Not ended, or ended since: 2h, or ISO 8601.")
    ] = None,
    requested_by: Annotated[str | None, typer.Option(help="Requests of this producer.")] = None,
    status: Annotated[
        str | None, typer.Option(help="An outcome's status, or waiting, in_progress, held.")
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="What stopped submissions: pauses, breakers, a blocked account.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Maximum number of requests.")] = 100,
    json: Json = False,
) -> None:
    """Show all events of a request; or the requests of a cluster, a time or a producer."""
    from workers.cli.commands.history import Filters, show_history

    filters = Filters(cluster_id, since, requested_by, status, limit)
    raise typer.Exit(show_history(request_id, filters, events=events, as_json=json))


def stats(
    cluster_id: Annotated[str | None, typer.Option("--cluster", help="Only of this cluster.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of pools.")] = 100,
    output: OutputOption = Output.table,
    json: Json = False,
) -> None:
    """Show how long operations take (p50, p90) and how many fail, by pool, those used last first."""
    from workers.cli.commands.stats import show_stats

    raise typer.Exit(show_stats(cluster_id, limit, output_of(output, json=json)))
