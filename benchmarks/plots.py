"""Plots as SVG, written by hand: bars, and lines on logarithmic axes, need no library."""

import math
from html import escape
from pathlib import Path

from benchmarks.report import Bars, Lines, Report, number
from benchmarks.tables import plot_name

WIDTH = 640
LEFT = 190
RIGHT = 90
BAR = 22
INK = "#333"
OURS = "#1668a8"
OTHERS = ("#a0a0a0", "#c98b2b", "#7a9a01", "#8d5aa5", "#c0504d")


def save_plots(report: Report, folder: Path) -> None:
    texts = [*(bars(plot) for plot in report.bars), *(lines(plot) for plot in report.lines)]
    for position, text in enumerate(texts):
        (folder / plot_name(report.name, position)).write_text(text, encoding="utf-8")


def bars(plot: Bars) -> str:
    """The first bar is ours."""
    most = max(plot.values.values(), default=0.0) or 1.0
    height = 50 + len(plot.values) * (BAR + 8)
    body = [_title(plot.title)]
    for position, (name, value) in enumerate(plot.values.items()):
        y = 40 + position * (BAR + 8)
        length = value / most * (WIDTH - LEFT - RIGHT)
        colour = OURS if position == 0 else OTHERS[0]
        body += [
            _text(LEFT - 8, y + BAR * 0.7, name, "end"),
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            _text(LEFT + length + 6, y + BAR * 0.7, f"{number(value)} {plot.unit}", "start"),
        ]
    return _svg(height, body)


def lines(plot: Lines) -> str:
    """The first line is ours."""
    left, top, width, height = 70, 54, WIDTH - 70 - 180, 240
    points = [point for line in plot.lines.values() for point in line if min(point) > 0]
    low_x, high_x = _decades([x for x, _ in points])
    low_y, high_y = _decades([y for _, y in points])

    def place(point: list[float]) -> tuple[float, float]:
        across = _along(point[0], low_x, high_x) * width
        return left + across, top + height - _along(point[1], low_y, high_y) * height

    body = [
        _title(plot.title),
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="{INK}"/>',
    ]
    for power in range(low_x, high_x + 1):
        x, _ = place([10.0**power, 10.0**low_y])
        body += [_rule(x, top, x, top + height), _text(x, top + height + 16, number(10.0**power), "middle")]
    for power in range(low_y, high_y + 1):
        _, y = place([10.0**low_x, 10.0**power])
        body += [_rule(left, y, left + width, y), _text(left - 6, y + 4, number(10.0**power), "end")]
    body += [
        _text(left + width / 2, top + height + 34, plot.x, "middle"),
        _text(left, top - 6, plot.y, "start"),
    ]
    for position, (name, line) in enumerate(plot.lines.items()):
        colour = OURS if position == 0 else OTHERS[(position - 1) % len(OTHERS)]
        places = [place(point) for point in sorted(line) if min(point) > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        key_y = top + 12 + 20 * position
        key_x = left + width + 12
        body.append(f'<rect x="{key_x}" y="{key_y - 9}" width="10" height="10" fill="{colour}"/>')
        body.append(_text(key_x + 16, key_y, name, "start"))
    return _svg(top + height + 50, body)


def _decades(values: list[float]) -> tuple[int, int]:
    """The powers of ten around `values`, at least one apart."""
    low = math.floor(math.log10(min(values, default=1.0)))
    high = math.ceil(math.log10(max(values, default=10.0)))
    return low, max(high, low + 1)


def _along(value: float, low: int, high: int) -> float:
    """Where `value` lies between two powers of ten, 0 to 1, by its logarithm."""
    if value <= 0:
        return 0.0
    return min(max((math.log10(value) - low) / (high - low), 0.0), 1.0)


def _title(text: str) -> str:
    return f'<text x="8" y="22" font-size="14" font-weight="bold" fill="{INK}">{escape(text)}</text>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _svg(height: float, body: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {WIDTH} {height:g}" font-family="sans-serif" font-size="12">'
    )
    return (
        "\n".join([head, f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>', *body, "</svg>"]) + "\n"
    )
