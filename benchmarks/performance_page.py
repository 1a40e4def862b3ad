"""Puts each report's section between its markers in docs/performance.md."""

from pathlib import Path

from benchmarks.processes import BenchmarkFailed
from benchmarks.report import Report
from benchmarks.tables import markdown


def write_page(page: Path, reports: list[Report]) -> None:
    text = page.read_text(encoding="utf-8")
    for report in reports:
        text = with_section(text, report.name, markdown(report))
    page.write_text(text, encoding="utf-8")


def with_section(text: str, name: str, section: str) -> str:
    """`text` with `section` between `<!-- name -->` and `<!-- /name -->`. Raises BenchmarkFailed."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise BenchmarkFailed(f"the page has no place for {name!r}: put {begin} and {end} where it belongs")
    return f"{before}{begin}\n{section}{end}{after}"
