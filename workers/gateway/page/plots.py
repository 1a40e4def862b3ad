"""PURE: the geometry of the page's plots, in units of their SVG view box."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 120
LEFT, RIGHT, TOP, BOTTOM = 34, 4, 8, 18
GAP = 0.18
NICE = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Bar:
    """`kind`: its class; `title`: what it says when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """`limit`: where a line is drawn across it, with its text."""

    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    limit: Tick | None = None


def nice_ceiling(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50 … that is not less."""
    step = 1.0
    while True:
        for factor in NICE:
            if factor * step >= value:
                return factor * step
        step *= 10


def stacked(
    series: Mapping[str, Sequence[float]], labels: Sequence[str], *, limit: float | None = None
) -> Plot:
    """Return bars stacked in the order of `series`; `labels`: of each place, empty for none on the axis."""
    places = len(labels)
    sums = [sum(values[place] for values in series.values()) for place in range(places)]
    highest = max([*sums, 1.0])
    shown_limit = limit if limit is not None and limit <= 2 * highest else None
    top = nice_ceiling(max(highest, shown_limit or 0))
    slot, scale = (WIDTH - LEFT - RIGHT) / places, (HEIGHT - TOP - BOTTOM) / top
    bars = []
    for place in range(places):
        base = 0.0
        for kind, values in series.items():
            value = values[place]
            if value:
                y = HEIGHT - BOTTOM - (base + value) * scale
                x = LEFT + slot * (place + GAP / 2)
                title = f"{labels[place] or ''} {kind}: {value:g}".strip()
                bars.append(Bar(_r(x), _r(y), _r(slot * (1 - GAP)), _r(value * scale), kind, title))
            base += value
    x_ticks = tuple(
        Tick(_r(LEFT + slot * (place + 0.5)), label) for place, label in enumerate(labels) if label
    )
    shown = (0, top / 2, top) if top % 2 == 0 else (0, top)
    y_ticks = tuple(Tick(_r(HEIGHT - BOTTOM - at * scale), f"{at:,.0f}") for at in shown)
    line = None
    if shown_limit is not None:
        line = Tick(_r(HEIGHT - BOTTOM - shown_limit * scale), f"limit {shown_limit:g}")
    return Plot(tuple(bars), x_ticks, y_ticks, line)


def _r(value: float) -> float:
    return round(value, 2)
