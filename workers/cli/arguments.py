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


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, for programs.")]
RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Stop waiting after this time.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
