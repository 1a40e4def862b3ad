"""`scaleout`: the commands. What a command needs is imported when it runs, so that --help is quick."""

from __future__ import annotations

import sys
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.schedule_commands import register

app = typer.Typer(
    name="scaleout",
    help="Adds nodes to QingCloud EHPC clusters: never twice, never lost, within quota.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Exit codes: 0 succeeded, 1 ended otherwise, 2 usage or invalid request, 3 still going when "
    "--timeout ran out, 4 no such request, 5 Redis or API unreachable.",
)


class OnShortage(StrEnum):
    wait = "wait"
    partial = "partial"
    fail = "fail"


class NodeRole(StrEnum):
    login = "login"
    compute = "compute"


Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for programs.")]
RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Give up waiting after this long.")
]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"scaleout {version('ehpc-scaleout')}")
        raise typer.Exit


@app.callback()
def scaleout(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which this is.")
    ] = False,
) -> None:
    pass


@app.command(context_settings=PASS_ON)
def worker(context: typer.Context) -> None:
    """Run a Celery worker. Further arguments go to `celery -A workers worker`."""
    from workers.cli.commands.worker import become_worker

    become_worker(context.args)


@app.command(context_settings={**PASS_ON, "help_option_names": []})
def simulator(context: typer.Context) -> None:
    """Run the simulator of the EHPC API on loopback. `scaleout simulator --help` lists its options."""
    from workers.simulator.__main__ import main as serve

    serve(context.args)


@app.command()
def demo(json: Json = False) -> None:
    """A server, the simulator and a worker on loopback; twenty-four requests and a schedule."""
    from workers.cli.demo.run import run_demo

    raise typer.Exit(run_demo(as_json=json))


@app.command()
def submit(
    cluster_id: Annotated[str, typer.Option("--cluster", help="ehpc-… or hpc-…")],
    zone: Annotated[str, typer.Option(help="The cluster's zone, such as jn1a.")],
    node_count: Annotated[int, typer.Option("--nodes", help="How many nodes to add.")],
    node_role: Annotated[
        NodeRole | None, typer.Option("--role", help="Left out: compute on ehpc-…, login on hpc-….")
    ] = None,
    request_id: Annotated[
        str | None, typer.Option(help="Idempotency key: the same id with the same content is one request.")
    ] = None,
    node_name: Annotated[str | None, typer.Option("--name", help="Name for the nodes.")] = None,
    private_ips: Annotated[list[str] | None, typer.Option("--ip", help="One for each node, or none.")] = None,
    resource_conf: Annotated[str | None, typer.Option(help="A JSON object for the provider.")] = None,
    deadline_s: Annotated[float | None, typer.Option("--deadline", metavar="SECONDS")] = None,
    on_shortage: Annotated[
        OnShortage, typer.Option(help="If too few nodes are there now.")
    ] = OnShortage.wait,
    requested_by: Annotated[str | None, typer.Option(help="Who asks.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come of it; nothing is written or sent.")
    ] = False,
    wait_for_end: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
    timeout_s: Timeout = None,
    json: Json = False,
) -> None:
    """Write a request to the ledger; when this returns, it is accepted."""
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
        "dry_run": dry_run or None,
    }
    raise typer.Exit(submit_request(fields, resource_conf, wait_for_end, timeout_s, as_json=json))


@app.command()
def status(request_id: RequestId, json: Json = False) -> None:
    """Where a request stands, and what it waits for."""
    from workers.cli.commands.status import show_status

    raise typer.Exit(show_status(request_id, as_json=json))


@app.command()
def wait(request_id: RequestId, timeout_s: Timeout = None, json: Json = False) -> None:
    """Wait until a request has ended, and print its outcome."""
    from workers.cli.commands.status import wait_for_outcome

    raise typer.Exit(wait_for_outcome(request_id, timeout_s, as_json=json))


@app.command("list")
def list_(
    ended: Annotated[bool, typer.Option("--ended", help="Those that have ended, latest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    json: Json = False,
) -> None:
    """The requests that have not ended, oldest first."""
    from workers.cli.commands.list_requests import show_list

    raise typer.Exit(show_list(ended=ended, limit=limit, as_json=json))


@app.command()
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
    stops: Annotated[
        bool, typer.Option("--stops", help="Pauses, breakers, a refused account: what stopped the sending.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many requests.")] = 100,
    json: Json = False,
) -> None:
    """All that happened to a request; or who asked for what, every attempt, and what came of it."""
    from workers.cli.commands.history import Filters, show_history

    filters = Filters(cluster_id, since, requested_by, status, limit)
    raise typer.Exit(show_history(request_id, filters, stops=stops, as_json=json))


@app.command()
def stats(
    cluster_id: Annotated[str | None, typer.Option("--cluster", help="Of this cluster alone.")] = None,
    json: Json = False,
) -> None:
    """How long operations take (p50, p90) and how many fail, by pool."""
    from workers.cli.commands.stats import show_stats

    raise typer.Exit(show_stats(cluster_id, as_json=json))


@app.command()
def cancel(
    request_id: RequestId,
    by: Annotated[str | None, typer.Option(help="Who cancels; recorded in the history.")] = None,
    json: Json = False,
) -> None:
    """Take no further nodes for a request. What is already sent runs to its end."""
    from workers.cli.commands.cancel import cancel_by_id

    raise typer.Exit(cancel_by_id(request_id, by, as_json=json))


@app.command()
def pause(
    cluster_id: Annotated[
        str | None, typer.Option("--cluster", help="Of this cluster alone; left out: everything.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; shown wherever the pause is.")] = None,
    lasting: Annotated[
        str | None,
        typer.Option("--for", metavar="SPAN", help="Lifts by itself after 90s, 30m, 2h, 1h30m."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who pauses; recorded.")] = None,
    json: Json = False,
) -> None:
    """Send nothing new. What runs is followed to its end, and requests are still taken in."""
    from workers.cli.commands.pause import pause_sending

    raise typer.Exit(pause_sending(cluster_id, reason, lasting, by, as_json=json))


@app.command()
def resume(
    cluster_id: Annotated[
        str | None,
        typer.Option("--cluster", help="This cluster's pause and its breakers; left out: everything's."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who resumes; recorded.")] = None,
    json: Json = False,
) -> None:
    """Lift a pause, and show what is still paused."""
    from workers.cli.commands.pause import resume_sending

    raise typer.Exit(resume_sending(cluster_id, by, as_json=json))


@app.command()
def resolve(
    name: Annotated[str, typer.Argument(metavar="ID", help="A held operation, or its request.")],
    adopt: Annotated[
        str | None, typer.Option(metavar="JOB_ID", help="This job is what became of it.")
    ] = None,
    never_happened: Annotated[
        bool, typer.Option("--never-happened", help="No job was made of it: ask for its nodes again.")
    ] = False,
    why: Annotated[str | None, typer.Option(help="Reason; recorded in the history.")] = None,
    by: Annotated[str | None, typer.Option(help="Who decides; recorded in the history.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    json: Json = False,
) -> None:
    """Show what is known of a held operation, and decide it."""
    from workers.cli.commands.resolve import resolve_held

    raise typer.Exit(
        resolve_held(
            name,
            adopt_job=adopt,
            absent=never_happened,
            why=why,
            by=by,
            confirmed=yes,
            as_json=json,
        )
    )


@app.command()
def quota(json: Json = False) -> None:
    """How many of the account's API calls are used."""
    from workers.cli.commands.quota import show_quota

    raise typer.Exit(show_quota(as_json=json))


@app.command()
def doctor(
    zone: Annotated[
        str | None, typer.Option(help="Zone of the one call that checks the credentials.")
    ] = None,
    accept_ledger: Annotated[
        bool, typer.Option("--accept-ledger", help="Send again, though data is missing from the ledger.")
    ] = False,
    json: Json = False,
) -> None:
    """Check settings, Redis, clocks, credentials, and what needs a person."""
    from workers.cli.commands.doctor import examine

    raise typer.Exit(examine(zone, accept_ledger=accept_ledger, as_json=json))


register(app)


@app.command(hidden=True)
def reference(root: Path) -> None:
    """Write what the documentation takes from the code: schemas, and the README's settings."""
    from workers.cli.commands.reference import write_reference

    write_reference(root)


def main() -> None:
    """Entry of the `scaleout` command: an expected failure is one line on stderr, never a traceback."""
    if isinstance(sys.stdout, TextIOWrapper):
        # What a terminal's encoding cannot show is shown by its number.
        sys.stdout.reconfigure(errors="backslashreplace")
    if not all(map(_is_text, sys.argv)):
        sys.stderr.write("scaleout: an argument is not text in the terminal's encoding\n")
        sys.exit(2)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from workers.cli.errors import explain

        explanation = explain(error)
        if explanation is None:
            raise
        text, code = explanation
        sys.stderr.write(f"scaleout: {text}\n")
        sys.exit(code)


def _is_text(argument: str) -> bool:
    """Bytes that could not be decoded come as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in argument)


if __name__ == "__main__":
    main()
