"""`scaleout`: the command line. A command's code is imported when it runs, so that --help is quick."""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from workers.cli import (
    dead_letter_commands,
    gateway_commands,
    ledger_commands,
    operator_commands,
    policy_commands,
    request_commands,
    webhook_commands,
)
from workers.cli.arguments import Json
from workers.cli.help_texts import PROCESSES, examples

app = typer.Typer(
    name="scaleout",
    help="Adds nodes to QingCloud EHPC clusters: at most once, never lost, within quota.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 succeeded or shown, 1 ended otherwise or unhealthy, 2 usage or invalid request, "
    "3 not ended yet, 4 not found, 5 Redis or API unreachable.",
)
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"scaleout {version('ehpc-scaleout')}")
        raise typer.Exit


@app.callback()
def scaleout(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(context_settings=PASS_ON, rich_help_panel=PROCESSES, epilog=examples("worker"))
def worker(context: typer.Context) -> None:
    """Run a Celery worker. Further arguments go to `celery -A workers worker`."""
    from workers.cli.commands.worker import become_worker

    become_worker(context.args)


@app.command(context_settings={**PASS_ON, "help_option_names": []}, rich_help_panel=PROCESSES)
def simulator(context: typer.Context) -> None:
    """Run the simulator of the EHPC API on loopback. `scaleout simulator --help` lists its options."""
    from workers.simulator.__main__ import main as serve

    serve(context.args)


@app.command(rich_help_panel=PROCESSES, epilog=examples("demo"))
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it all running, until Ctrl-C, and say what to try.")
    ] = False,
    json: Json = False,
) -> None:
    """Run a server, the simulator and a worker on loopback: all of it in twenty seconds."""
    from workers.cli.demo.run import run_demo

    raise typer.Exit(run_demo(as_json=json, keep=keep))


GROUPS = (
    gateway_commands,
    request_commands,
    operator_commands,
    dead_letter_commands,
    policy_commands,
    webhook_commands,
    ledger_commands,
)
for group in GROUPS:
    group.register(app)


def main() -> None:
    """Run the `scaleout` command: an expected failure is one line on stderr, never a traceback."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A character that the terminal's encoding lacks is shown by its number.
        sys.stdout.reconfigure(errors="backslashreplace")
    if not all(map(_is_text, sys.argv)):
        sys.stderr.write("scaleout: an argument is not text in the terminal's encoding\n")
        sys.exit(2)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as ended:
        _print_usage_error(ended.__context__)
        raise
    except Exception as error:
        from workers.cli.errors import describe

        described = describe(error)
        if described is None:
            raise
        text, code = described
        if "--json" in sys.argv:
            from workers.cli.terminal import print_json

            print_json({"error": {"kind": code.name.lower(), "problems": [text]}})
        sys.stderr.write(f"scaleout: {text}\n")
        sys.exit(code)


def _print_usage_error(cause: BaseException | None) -> None:
    """Print as JSON what Typer has said on stderr of wrong options."""
    message = getattr(cause, "format_message", None)
    if message is not None and "--json" in sys.argv:
        from workers.cli.terminal import print_json

        print_json({"error": {"kind": "usage", "problems": [message()]}})


def _is_text(argument: str) -> bool:
    """Bytes that could not be decoded come as unpaired surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in argument)


if __name__ == "__main__":
    main()
