"""Whether a soak has used more and more: pure functions of its samples, and a table of them.

A process is judged by each of its lives that is long enough: the median of its last quarter is compared with
the median of the second one. The first quarter is left out, because caches and pools fill in it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tests.chaos.soak_samples import Sample, Usage

MIB = 2**20
LEAST_SAMPLES = 12
# What a life's last quarter may have more than its second one.
RSS_PART, RSS_MORE = 0.05, 4 * MIB
DESCRIPTORS_MORE = 6
# Pools start their threads one by one, as many at once are wanted: 8 for tasks, and asyncio's own. Each has
# memory of its own in the allocator.
THREADS_MORE, THREADS_BOUND, RSS_OF_A_THREAD = 3, 20, 2 * MIB
# What Redis may grow by for each request that ends, all records, results and histories included.
REDIS_PER_REQUEST = 24 * 1024
LOG_PER_REQUEST = 16 * 1024
LOG_PER_MINUTE = 512 * 1024
KEYS_PART, KEYS_MORE = 0.25, 25
# Families that have keys of each request or task for a week: they grow for as long as a soak lasts.
BY_REQUEST = frozenset(
    {"request", "operation", "outcome", "history", "caller", "job", "answer", "celery-task", "staging:*"}
)
COLUMNS = (
    "process",
    "lives",
    "samples",
    "RSS, MiB",
    "most",
    "descriptors",
    "most",
    "threads",
    "log",
    "a minute",
)
# Simulators keep the truth of the whole run; the server's memory is judged by its own figure.
NOT_JUDGED = frozenset({"simulator", "server"})


@dataclass(frozen=True, slots=True)
class Life:
    """One process from its first sample to its last."""

    name: str
    usages: Sequence[Usage]

    def is_judged(self) -> bool:
        return self.name not in NOT_JUDGED and len(self.usages) >= LEAST_SAMPLES

    def quarters(self, value: Callable[[Usage], float]) -> tuple[float, float]:
        """Return the medians of the second and of the last quarter."""
        return quarters([value(usage) for usage in self.usages])

    def problems(self) -> list[str]:
        if not self.is_judged():
            return []
        rss, last_rss = self.quarters(lambda usage: usage.rss)
        threads, last_threads = self.quarters(lambda usage: usage.threads)
        found = []
        of_threads = RSS_OF_A_THREAD * max(0.0, min(last_threads, THREADS_BOUND) - threads)
        if last_rss > rss * (1 + RSS_PART) + RSS_MORE + of_threads:
            found.append(f"{self.name} grew from {rss / MIB:.1f} to {last_rss / MIB:.1f} MiB")
        descriptors, last = self.quarters(lambda usage: usage.descriptors)
        if last > descriptors + DESCRIPTORS_MORE:
            found.append(f"{self.name} went from {descriptors:g} to {last:g} open descriptors")
        if last_threads > max(threads + THREADS_MORE, THREADS_BOUND):
            found.append(f"{self.name} went from {threads:g} to {last_threads:g} threads")
        return found


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the second and of the last quarter of at least four values."""
    part = len(values) // 4
    return median(values[part : 2 * part]), median(values[-part:])


def lives(samples: Iterable[Sample]) -> list[Life]:
    """Return the lives of all processes, by name and then by time."""
    found: dict[tuple[str, int], list[Usage]] = {}
    for sample in samples:
        for process, usage in sample.processes.items():
            found.setdefault(process, []).append(usage)
    by_name = sorted(found.items(), key=lambda item: item[0][0])
    return [Life(name, usages) for (name, _), usages in by_name]


def problems(samples: Sequence[Sample], requests: int, lasting: Iterable[str]) -> list[str]:
    """Return what grew without bound, as sentences.

    Args:
        requests: how many there were in all.
        lasting: processes that must have lived, and are judged, from the first sample to the last.
    """
    if len(samples) < LEAST_SAMPLES:
        return [f"{len(samples)} samples are too few to judge: {LEAST_SAMPLES} are needed"]
    known = lives(samples)
    found = [problem for life in known for problem in life.problems()]
    for name in lasting:
        judged = [life for life in known if life.name == name]
        if len(judged) != 1 or len(judged[0].usages) < len(samples) - 1:
            found.append(f"{name} did not live from the first sample to the last")
    return [*found, *_redis(samples), *_logs(samples, requests)]


def growth_per_request(samples: Sequence[Sample]) -> float:
    """Return by how many bytes Redis grew for each request that ended, between second and last quarter."""
    seen = [sample for sample in samples if sample.memory is not None]
    memory, last_memory = quarters([float(sample.memory or 0) for sample in seen])
    ended, last_ended = quarters([sample.ended for sample in seen])
    return (last_memory - memory) / max(1.0, last_ended - ended)


def log_rates(samples: Sequence[Sample]) -> dict[str, float]:
    """Return the most bytes a minute that each process wrote between two samples."""
    return {
        name: max(
            (later.logs[name] - sooner.logs.get(name, 0)) * 60 / max(0.001, later.at_s - sooner.at_s)
            for sooner, later in pairwise(samples)
        )
        for name in samples[-1].logs
        if name not in NOT_JUDGED and len(samples) > 1
    }


def log_bytes(samples: Sequence[Sample]) -> int:
    return sum(size for name, size in samples[-1].logs.items() if name not in NOT_JUDGED)


def _redis(samples: Sequence[Sample]) -> list[str]:
    seen = [sample for sample in samples if sample.memory is not None]
    if len(seen) < LEAST_SAMPLES:
        return [f"Redis was there at {len(seen)} of {len(samples)} samples: too few to judge"]
    found = []
    if (growth := growth_per_request(samples)) > REDIS_PER_REQUEST:
        found.append(f"Redis grew by {growth:,.0f} bytes for each request that ended")
    for name in sorted({name for sample in seen for name in sample.keys} - BY_REQUEST):
        number, last = quarters([sample.keys.get(name, 0) for sample in seen])
        if last > number * (1 + KEYS_PART) + KEYS_MORE:
            found.append(f"the keys {name} went from {number:g} to {last:g}")
    return found


def _logs(samples: Sequence[Sample], requests: int) -> list[str]:
    found = [
        f"{name} wrote {rate:,.0f} bytes a minute"
        for name, rate in log_rates(samples).items()
        if rate > LOG_PER_MINUTE
    ]
    if (each := log_bytes(samples) / max(1, requests)) > LOG_PER_REQUEST:
        found.append(f"logs have {each:,.0f} bytes for each request")
    return found


def table(samples: Sequence[Sample]) -> str:
    """What was used, in Markdown: by process, then Redis and logs."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    known, rates = lives(samples), log_rates(samples)
    for name in dict.fromkeys(life.name for life in known):
        own = [life for life in known if life.name == name]
        longest = max(own, key=lambda life: len(life.usages))
        most = [usage for life in own for usage in life.usages]
        columns = [name, str(len(own)), str(len(longest.usages))]
        columns += [_change(longest, lambda usage: usage.rss / MIB), f"{max(u.rss for u in most) / MIB:.1f}"]
        columns += [_change(longest, lambda usage: usage.descriptors), f"{max(u.descriptors for u in most)}"]
        columns += [_change(longest, lambda usage: usage.threads)]
        log = samples[-1].logs.get(name)
        columns += ["-" if log is None else f"{log / 1000:,.0f} kB", f"{rates.get(name, 0) / 1000:,.0f} kB"]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join([*lines, "", *_of_redis(samples)])


def _change(life: Life, value: Callable[[Usage], float]) -> str:
    if len(life.usages) < LEAST_SAMPLES:
        return "-"
    before, after = life.quarters(value)
    return f"{before:.4g} → {after:.4g}"


def _of_redis(samples: Sequence[Sample]) -> list[str]:
    seen = [sample for sample in samples if sample.memory is not None]
    if len(seen) < LEAST_SAMPLES:
        return []
    first, last = seen[0], seen[-1]
    names = sorted(last.keys, key=lambda name: -last.keys[name])
    grown = ", ".join(f"{name} {first.keys.get(name, 0)} → {last.keys[name]}" for name in names)
    memory = f"{(first.memory or 0) / MIB:.1f} → {(last.memory or 0) / MIB:.1f} MiB"
    growth = f"{growth_per_request(samples):,.0f} bytes for each request that ended"
    return [f"Redis: {memory}, {growth}.", f"Keys: {grown}."]
