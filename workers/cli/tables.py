"""Tables that fit the terminal: ids stay whole, sentences are folded; colours only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from workers.cli.terminal import console, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

NOTE_CHARS = 40  # a sentence in less than that is hard to read
BETWEEN = 3  # columns
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


def print_table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table. Cells are shown as they are, without markup, and folded where they have no room."""
    out = console()
    table = _table(columns, title)
    for row in rows:
        table.add_row(*map(_text, row))
    _write(out, _lines(out, table))


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[object]], note: str) -> None:
    """Print a table whose first column is an id and whose last one, `note`, is a sentence.

    Where they have no room beside the others, notes go below their rows, then ids above them; if even the
    rest has none, each row is a block of its own.
    """
    out, cells = console(), [[_text(cell) for cell in row] for row in rows]
    widths = [max([len(name), *(len(row[place]) for row in cells)]) for place, name in enumerate(columns)]
    needed = sum(widths) + BETWEEN * len(widths)
    if needed + NOTE_CHARS <= out.width:
        table = _table([*columns, note])
        for row in cells:
            table.add_row(*row)
        _write(out, _lines(out, table))
    elif needed <= out.width:
        _write(out, _with_notes(out, columns, cells, ids_above=False))
    elif needed - widths[0] <= out.width:
        _write(out, _with_notes(out, columns, cells, ids_above=True))
    else:
        _write(out, [line for row in cells for line in _block(out, [*columns, note], row)])


def _with_notes(
    out: Console, columns: Sequence[str], cells: Sequence[Sequence[Text]], *, ids_above: bool
) -> list[str]:
    """Return the lines of a table with each note below its row, and its id above it if asked for."""
    first = 1 if ids_above else 0
    table = _table(columns[first:])
    for row in cells:
        table.add_row(*row[first:-1])
    lines = _lines(out, table)
    head = len(lines) - len(cells) - 1
    found = ["", f" {columns[0]}", *lines[1:head]] if ids_above else lines[:head]
    for line, row in zip(lines[head:], cells, strict=False):
        above = [f" {row[0].plain}"] if ids_above else []
        found += [*above, line, *_note(out, row[-1])]
    return [*found, ""]


def _block(out: Console, columns: Sequence[str], row: Sequence[Text]) -> list[str]:
    table = _table(("field", "value"))
    table.show_header = False
    for name, cell in zip(columns, row, strict=True):
        if cell.plain:
            table.add_row(name, cell)
    return _lines(out, table)


def _note(out: Console, note: Text) -> list[str]:
    if not note.plain:
        return []
    folded = note.wrap(out, out.width - 5)
    return [f"  {'└' if number == 0 else ' '} {part.plain}" for number, part in enumerate(folded)]


def _table(columns: Sequence[str], title: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _lines(out: Console, table: Table) -> list[str]:
    with out.capture() as captured:
        out.print(table)
    return captured.get().splitlines()


def _write(out: Console, lines: Iterable[str]) -> None:
    # Cells are padded to their column; through a pipe the padding is noise at the end of each line.
    sys.stdout.write("\n".join(line if out.is_terminal else line.rstrip() for line in lines) + "\n")


def _text(cell: object) -> Text:
    from rich.text import Text

    style = STYLES.get(cell, "") if isinstance(cell, str) else ""
    return Text(printable(_words(cell)), style=style)


def _words(cell: object) -> str:
    """Return a cell as people write it."""
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case list() | tuple():
            return ", ".join(map(_words, cell))
        case dict():
            return ", ".join(f"{name}: {_words(value)}" for name, value in cell.items())
        case _:
            return str(cell)
