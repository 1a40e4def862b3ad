"""`python -m benchmarks polling --size 500`; `all` runs each; `report` only writes the page anew."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import budget, burst, gateway, growth, large, memory, polling, throughput
from benchmarks.options import Options
from benchmarks.performance_page import write_page
from benchmarks.plots import save_plots
from benchmarks.processes import ROOT, BenchmarkFailed
from benchmarks.report import Report, met_text, save
from benchmarks.tables import show

BENCHMARKS: dict[str, Callable[[Options], Report]] = {
    "polling": polling.measure,
    "budget": budget.measure,
    "throughput": throughput.measure,
    "burst": burst.measure,
    "growth": growth.measure,
    "gateway": gateway.measure,
    "memory": memory.measure,
    "large": large.measure,
}
KEPT = ROOT / "docs" / "benchmarks"
QUICK = ROOT / ".bench"
PAGE = ROOT / "docs" / "performance.md"
WIDTH = 160


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmark", choices=[*BENCHMARKS, "all", "report"])
    parser.add_argument("--size", type=int, help="operations, instead of the benchmark's own number")
    parser.add_argument("--only", default="", help="systems, by name and with commas: scaleout,arq")
    parser.add_argument("--quick", action="store_true", help="smaller, in about two minutes for all")
    parser.add_argument(
        "--out",
        type=Path,
        help=f"folder for JSON and plots ({KEPT.name}; of quick and partial runs {QUICK.name})",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    given = parse(arguments)
    try:
        if given.benchmark == "report":
            for report in _kept():
                save_plots(report, KEPT)
            write_page(PAGE, _kept())
            return 0
        names = list(BENCHMARKS) if given.benchmark == "all" else [given.benchmark]
        # Only whole runs are what the documentation shows.
        partial = given.quick or given.size is not None or bool(given.only)
        options = Options(given.quick, given.size, tuple(name for name in given.only.split(",") if name))
        _run(
            names, options, given.out or (QUICK if partial else KEPT), keep=not partial and given.out is None
        )
    except BenchmarkFailed as failure:
        print(f"benchmarks: {failure}", file=sys.stderr)
        return 1
    return 0


def _run(names: Sequence[str], options: Options, folder: Path, *, keep: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    began = time.monotonic()
    for name in names:
        report = BENCHMARKS[name](options)
        show(report, console)
        path = save(report, folder)
        save_plots(report, folder)
        console.print(f"{met_text(report.targets)}; {path}, {time.monotonic() - began:.0f} s so far")
    if keep:
        write_page(PAGE, _kept())


def _kept() -> list[Report]:
    paths = [KEPT / f"{name}.json" for name in BENCHMARKS]
    return [Report.from_json(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
