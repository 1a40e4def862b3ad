"""What it costs a worker to be scraped: the same load with and without, by turns."""

import statistics
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.contenders import SCALEOUT
from benchmarks.environment import Conditions, requests_on_clusters
from benchmarks.processes import BenchmarkFailed
from benchmarks.run import run
from benchmarks.throughput import POLL_S, PROVIDER
from workers.cli.demo.processes import free_port

SIZE, QUICK_SIZE = 600, 100
PAIRS, QUICK_PAIRS = 8, 1
SCRAPED_EVERY_S = 2.0
WITHIN_S = 300.0


@dataclass(frozen=True, slots=True)
class MetricsCost:
    """CPU of a worker, ms a request, of the runs of each pair."""

    size: int
    without: list[float]
    scraped: list[float]
    scrapes: int

    @property
    def ratios(self) -> list[float]:
        """Of each pair, with metrics to without."""
        return [one / other for one, other in zip(self.scraped, self.without, strict=True)]

    @property
    def ratio(self) -> float:
        """The median: a machine that others use, too, spoils single pairs."""
        return statistics.median(self.ratios)


def measure_metrics_cost(*, quick: bool) -> MetricsCost:
    """Run the pairs, each in the other order than the one before."""
    size, pairs = (QUICK_SIZE, QUICK_PAIRS) if quick else (SIZE, PAIRS)
    without, scraped, scrapes = [], [], 0
    for pair in range(pairs):
        for with_metrics in (False, True) if pair % 2 else (True, False):
            if with_metrics:
                port = free_port()
                with _scraping(port) as answered:
                    scraped.append(_cpu_ms(size, {"METRICS_PORT": port}))
                if not answered:
                    raise BenchmarkFailed("the worker's metrics were never answered")
                scrapes += len(answered)
            else:
                without.append(_cpu_ms(size, {}))
    return MetricsCost(size, without, scraped, scrapes)


def _cpu_ms(size: int, settings: dict[str, object]) -> float:
    conditions = Conditions(POLL_S, PROVIDER, within_s=WITHIN_S, settings=settings)
    return 1000 * run(SCALEOUT, requests_on_clusters(size), conditions).cpu_s / size


@contextmanager
def _scraping(port: int) -> Iterator[list[int]]:
    """Scrape until the end; yield the size of each answer."""
    over, answered = threading.Event(), list[int]()

    def scrape() -> None:
        while not over.is_set():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    answered.append(len(answer.read()))
            except OSError:  # it is not up yet, or not any more
                over.wait(0.2)
            else:
                over.wait(SCRAPED_EVERY_S)

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield answered
    finally:
        over.set()
        thread.join(15)
