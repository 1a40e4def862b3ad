"""Plots of a report as SVG."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.report import Bars, Lines, Report, number
from benchmarks.tables import plot_name

OURS = "#1668a8"
OTHERS = ("#a0a0a0", "#c98b2b", "#7a9a01", "#8d5aa5", "#c0504d")

# The same report gives the same file, so that a diff shows what was measured.
mpl.rcParams["svg.hashsalt"] = "ehpc-scaleout"


def save_plots(report: Report, folder: Path) -> None:
    figures = [*(bars(plot) for plot in report.bars), *(lines(plot) for plot in report.lines)]
    for position, figure in enumerate(figures):
        figure.savefig(folder / plot_name(report.name, position), metadata={"Date": None})


def bars(plot: Bars) -> Figure:
    """Draw one bar for each name, ours first and highlighted."""
    figure = Figure(figsize=(7, 0.8 + 0.4 * len(plot.values)), layout="constrained")
    axes = figure.add_subplot(title=plot.title)
    colours = [OURS, *([OTHERS[0]] * len(plot.values))][: len(plot.values)]
    drawn = axes.barh(list(plot.values), list(plot.values.values()), color=colours)
    axes.bar_label(drawn, [f"{number(value)} {plot.unit}" for value in plot.values.values()], padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.xaxis.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def lines(plot: Lines) -> Figure:
    """Draw one line for each name on logarithmic axes, ours first and highlighted."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot(title=plot.title, xlabel=plot.x, ylabel=plot.y, xscale="log", yscale="log")
    for position, (name, line) in enumerate(plot.lines.items()):
        points = sorted(point for point in line if min(point) > 0)
        colour = OURS if position == 0 else OTHERS[(position - 1) % len(OTHERS)]
        axes.plot([x for x, _ in points], [y for _, y in points], "o-", color=colour, label=name)
    axes.grid(which="major", color="#ddd")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
