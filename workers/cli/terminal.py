"""Data goes to stdout, all else to stderr; colours and bars only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def print_json(data: Any) -> None:
    unicode = sys.stdout.encoding.lower().startswith("utf")
    sys.stdout.write(json.dumps(data, ensure_ascii=not unicode) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A word to the person at the terminal, beside the data."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def printable(text: str) -> str:
    """`text` on one line, with nothing in it that could steer a terminal: names come from anywhere."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def console() -> Console:
    from rich.console import Console

    return Console(
        highlight=False,
        soft_wrap=False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        # Through a pipe a table is not to be cut to the width of a terminal that is not there.
        width=None if sys.stdout.isatty() else 200,
    )


def print_table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Cells are shown as they are: nothing in them is taken for markup."""
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
    # Cells are padded to their column; through a pipe that is only noise at the end of each line.
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
    "wrong": "bold red",
    "rejected": "red",
    "timed_out": "red",
}


def _style(cell: object) -> str:
    return STYLES.get(cell, "") if isinstance(cell, str) else ""
