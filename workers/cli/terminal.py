"""Data goes to stdout, everything else to stderr; colours only on a terminal."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from workers.cli.exit_codes import Exit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPED_WIDTH = 200
NOTE_CHARS = 40
WHOLE = frozenset(
    {"request_id", "cluster_id", "operation_id", "job_id", "name", "id", "task_id", "state", "age", "nodes"}
)


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


def print_table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]], *, note: str | None = None
) -> None:
    """Print a table. Cells are shown as they are, without markup, and ids are never broken.

    Args:
        note: a column of sentences, each of which goes below its row where it has no room beside it.
    """
    from rich import box
    from rich.table import Table

    out, cells = console(), [[_text(cell) for cell in row] for row in rows]
    below = note is not None and _too_wide(columns, cells, out.width)
    shown = columns if below or note is None else [*columns, note]
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in shown:
        table.add_column(column, overflow="fold", no_wrap=column in WHOLE)
    for row in cells:
        table.add_row(*row[: len(shown)])
    with out.capture() as captured:
        out.print(table)
    lines = captured.get().splitlines()
    if below:
        lines = _with_notes(lines, [row[-1] for row in cells], out)
    # Cells are padded to their column; through a pipe the padding is noise at the end of each line.
    sys.stdout.write("\n".join(line if out.is_terminal else line.rstrip() for line in lines) + "\n")


def _too_wide(columns: Sequence[str], cells: Sequence[Sequence[Text]], width: int) -> bool:
    """Return whether a last column of sentences would have less than a line of them has to have."""
    widest = [max([len(name), *(len(row[place]) for row in cells)]) for place, name in enumerate(columns)]
    return sum(widest) + 2 * len(widest) + NOTE_CHARS > width


def _with_notes(lines: Sequence[str], notes: Sequence[Text], out: Console) -> list[str]:
    """Put each note below its row, which is one line as long as no cell of it is folded."""
    head = len(lines) - len(notes) - 1
    if head < 0:
        return [*lines, *(note.plain for note in notes if note.plain)]
    found = list(lines[:head])
    for line, note in zip(lines[head:], [*notes, None], strict=True):
        found.append(line)
        if note is not None and note.plain:
            folded = note.wrap(out, out.width - 4)
            found += [f"  {'└' if number == 0 else ' '} {part.plain}" for number, part in enumerate(folded)]
    return found


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
