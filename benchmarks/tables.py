"""A report on the terminal, and as Markdown."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.report import Cell, Report, Table, Target, number

MET = {True: "yes", False: "**no**", None: "too small a run to tell"}


def show(report: Report, console: Console) -> None:
    """Everything but the plots."""
    console.print(f"\n[bold]{report.title}[/bold]")
    for sentence in report.conditions:
        console.print(f"  {sentence}", highlight=False)
    for table in (*report.tables, *targets_table(report.targets)):
        shown = RichTable(title=table.title, title_justify="left", pad_edge=False)
        for position, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if position else "left")
        for row in table.rows:
            shown.add_row(*(text_of(cell).replace("**", "") for cell in row))
        console.print(shown)


def markdown(report: Report) -> str:
    """The section of docs/performance.md, plots included."""
    lines = [*(f"- {sentence}" for sentence in report.conditions), ""]
    for table in (*targets_table(report.targets), *report.tables):
        lines += [f"**{table.title}**", "", *_rows(table), ""]
    plots = [*(plot.title for plot in report.bars), *(plot.title for plot in report.lines)]
    lines += [f"![{title}](benchmarks/{plot_name(report.name, n)})" for n, title in enumerate(plots)]
    lines += ["", f"Measured {report.measured_at}: {report.machine}."]
    return "\n".join(lines) + "\n"


def plot_name(report_name: str, position: int) -> str:
    return f"{report_name}-{position + 1}.svg"


def targets_table(targets: Sequence[Target]) -> list[Table]:
    if not targets:
        return []
    rows: list[list[Cell]] = [[t.figure, t.reach, t.measured, MET[t.met]] for t in targets]
    return [Table("To reach", ["figure", "reach", "measured", "met"], rows)]


def text_of(cell: Cell) -> str:
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else number(cell)


def _rows(table: Table) -> list[str]:
    head = f"| {' | '.join(table.columns)} |"
    rule = f"|{'---|' * 1}{'---:|' * (len(table.columns) - 1)}"
    return [head, rule, *(f"| {' | '.join(text_of(cell) for cell in row)} |" for row in table.rows)]
