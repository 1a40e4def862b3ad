"""Arguments and options that several commands have."""

from enum import StrEnum
from typing import Annotated

import typer


class OnShortage(StrEnum):
    wait = "wait"
    partial = "partial"
    fail = "fail"


class NodeRole(StrEnum):
    login = "login"
    compute = "compute"


class Output(StrEnum):
    """How a command shows what it has found."""

    table = "table"
    wide = "wide"
    json = "json"


def output_of(wanted: Output, *, json: bool) -> Output:
    """Return the form that the two options ask for; `--json` is `-o json`."""
    return Output.json if json else wanted


OutputOption = Annotated[
    Output, typer.Option("-o", "--output", help="`wide` shows all columns; `json` is --json.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, for programs.")]
RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID")]


def seconds(text: str) -> float:
    """Read a duration such as `90s` or `2h`; a bare number is in seconds."""
    from workers.cli.durations import InvalidDuration, parse_duration

    try:
        number = float(text)
    except ValueError:
        try:
            return float(parse_duration(text))
        except InvalidDuration as error:
            raise typer.BadParameter(str(error)) from error
    if not number >= 0:
        raise typer.BadParameter(f"{text!r} is not a number of seconds")
    return number


Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="DURATION", parser=seconds, help="Stop waiting after this time: 10m."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
