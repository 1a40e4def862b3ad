"""Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from workers.cli.exit_codes import Exit

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 200


def print_json(data: Any) -> None:
    unicode = sys.stdout.encoding.lower().startswith("utf")
    sys.stdout.write(json.dumps(data, ensure_ascii=not unicode) + "\n")
    sys.stdout.flush()


def echo(text: str) -> None:
    """Print a message for people, beside the data."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def printable(text: str) -> str:
    """Return `text` on one line, without characters that steer a terminal: names come from anywhere."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def echo_problems(problems: Sequence[str], *, as_json: bool, kind: str = "invalid") -> None:
    """Report why a command was refused, a line for each problem."""
    if as_json:
        print_json({"error": {"kind": kind, "problems": list(problems)}})
    for problem in problems:
        echo(f"scaleout: {problem}")


def refuse(problem: str, code: Exit, *, as_json: bool) -> Exit:
    """Report why a command was not carried out, and return `code`."""
    if as_json:
        print_json({"error": {"kind": code.name.lower(), "problems": [problem]}})
    echo(f"scaleout: {problem}")
    return code


def user_name() -> str:
    """Return the name of the user, for the history."""
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return "unknown"


def confirm(question: str) -> bool:
    """Ask the user. Without a terminal the answer is no."""
    if not sys.stdin.isatty():
        echo("scaleout: stdin is not a terminal: pass --yes to confirm")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def console() -> Console:
    from rich.console import Console

    return Console(
        highlight=False,
        soft_wrap=False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        # Through a pipe there is no terminal whose width a table would have to fit.
        width=None if sys.stdout.isatty() else PIPED_WIDTH,
    )


def clear_screen() -> None:
    """Begin the screen anew; through a pipe, begin a new block."""
    sys.stdout.write("\x1b[2J\x1b[H" if sys.stdout.isatty() else "\n")
    sys.stdout.flush()
