"""Data goes to stdout, everything else to stderr; colours only on a terminal."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


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


def echo_problems(problems: Sequence[str], *, as_json: bool) -> None:
    """Report why a command was refused, a line for each problem."""
    if as_json:
        print_json({"error": {"kind": "invalid", "problems": list(problems)}})
    for problem in problems:
        echo(f"scaleout: {problem}")


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
        width=None if sys.stdout.isatty() else 200,
    )


def print_table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table. Cells are shown as they are, without markup."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    out = console()
    with out.capture() as captured:
        out.print(table)
    # Cells are padded to their column; through a pipe the padding is noise at the end of each line.
    lines = captured.get().splitlines()
    sys.stdout.write("\n".join(line if out.is_terminal else line.rstrip() for line in lines) + "\n")


def _text(cell: object) -> Text:
    from rich.text import Text

    return Text("" if cell is None else printable(str(cell)), style=_style(cell))


STYLES = {
    "succeeded": "green",
    "ok": "green",
    "waiting": "yellow",
    "in_progress": "cyan",
    "partially_succeeded": "yellow",
    "warning": "yellow",
    "held": "bold red",
    "failed": "red",
    "error": "bold red",
    "rejected": "red",
    "timed_out": "red",
}


def _style(cell: object) -> str:
    return STYLES.get(cell, "") if isinstance(cell, str) else ""
