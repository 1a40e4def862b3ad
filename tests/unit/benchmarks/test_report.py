"""What a benchmark keeps, shows and draws."""

import io
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from rich.console import Console

from benchmarks.performance_page import with_section
from benchmarks.plots import bars, lines, save_plots
from benchmarks.processes import BenchmarkFailed
from benchmarks.report import Bars, Lines, Report, Table, Target, at_least, at_most, number, paragraphs
from benchmarks.tables import markdown, show


@pytest.fixture
def report() -> Report:
    return Report(
        name="polling",
        title="Polling 5 operations",
        conditions=["Jobs of 1 s."],
        tables=[
            Table("Figures", ["", "ours", "theirs"], [["API calls", 24, 10_100.0], ["delay s", 0.5, None]])
        ],
        targets=[at_most("delay", 1.5, 0.5, " s"), Target("sooner", "≥ 15 ×", "3 ×", None)],
        bars=[Bars("CPU <s>", "s", {"ours": 3.4, "theirs": 38.0, "none": 0.0})],
        lines=[
            Lines("Memory", "operations", "MB", {"ours": [[100, 80], [1_000, 90]], "theirs": [[100, 70]]})
        ],
        measured_at="2026-01-01 00:00 UTC",
        machine="2 cores",
    )


def test_a_report_is_the_same_after_it_was_kept(report: Report) -> None:
    assert Report.from_json(report.to_json()) == report


def test_markdown_has_the_targets_first_then_the_tables_and_the_plots(report: Report) -> None:
    text = markdown(report)

    assert "| delay | ≤ 1.5 s | 0.5 s | yes |" in text
    assert "| sooner | ≥ 15 × | 3 × | too small a run to tell |" in text
    assert "| API calls | 24 | 10,100 |\n| delay s | 0.5 | – |" in text
    assert text.index("To reach") < text.index("Figures") < text.index("polling-1.svg")
    assert "polling-2.svg" in text


def test_the_terminal_shows_every_cell(report: Report) -> None:
    console = Console(file=io.StringIO(), width=120)
    show(report, console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(part in text for part in ("Polling 5 operations", "10,100", "too small a run to tell"))


def test_plots_are_images_with_a_bar_or_a_point_for_each_value(report: Report, tmp_path: Path) -> None:
    save_plots(report, tmp_path)

    assert all(
        ET.parse(tmp_path / f"polling-{number}.svg").getroot().tag.endswith("svg") for number in (1, 2)
    )
    (drawn,) = bars(report.bars[0]).axes[0].containers
    assert [round(float(bar.get_width()), 1) for bar in drawn] == [3.4, 38.0, 0.0]
    points = [line.get_path().vertices for line in lines(report.lines[0]).axes[0].lines]
    assert [np.shape(vertices) for vertices in points] == [(2, 2), (1, 2)]


def test_a_section_goes_between_its_markers_and_nowhere_else() -> None:
    page = "# A\n<!-- a -->\nold\n<!-- /a -->\nwords\n<!-- b -->\n<!-- /b -->\n"

    assert with_section(page, "a", "new\n") == page.replace("old", "new")
    with pytest.raises(BenchmarkFailed, match="no place for 'c'"):
        with_section(page, "c", "new\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (1.0, "1"),
        (38.04, "38"),
        (99.95, "100"),
        (123.4, "123"),
        (10_100, "10,100"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_target_is_met_at_its_very_bound() -> None:
    assert [at_most("", 5, value).met for value in (5, 5.01)] == [True, False]
    assert [at_least("", 5, value).met for value in (5, 4.99)] == [True, False]


def test_paragraphs_are_lines() -> None:
    assert paragraphs("\n   a\n   b\n\n   c\n") == ["a b", "c"]
