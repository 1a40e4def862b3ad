"""The tables that set systems side by side: ratios to this project first, then the figures themselves."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.report import Cell, Table, ratio
from benchmarks.run import Run

Figure = Callable[[Run], float]


def side_by_side(what: str, runs: Sequence[Run], figures: Mapping[str, Figure]) -> list[Table]:
    """A column for each system. The first of `runs` is this project's, and the measure for the ratios."""
    if not runs:
        return []
    values = {name: [figure(run) for run in runs] for name, figure in figures.items()}
    titles = [run.system.title for run in runs]
    absolute: list[list[Cell]] = [[name, *row] for name, row in values.items()]
    tables = [Table(f"{what}: figures", ["", *titles], absolute)]
    if len(runs) > 1:
        ratios: list[list[Cell]] = [
            [name, *(ratio(value, row[0]) for value in row[1:])] for name, row in values.items()
        ]
        tables.insert(0, Table(f"{what}: how many times {titles[0]}", ["", *titles[1:]], ratios))
    return tables


def the_run(runs: Sequence[Run], name: str) -> Run | None:
    return next((run for run in runs if run.system.name == name), None)
