"""What one process counts of itself, for Prometheus. Labels have few values: no request, cluster or node."""

import platform
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

REGISTRY = CollectorRegistry()
# Of the call that is being made; nothing else knows it where calls are measured.
CALL_CLASS: ContextVar[str] = ContextVar("CALL_CLASS", default="other")
JOB_BUCKETS_S = (10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400)
CALL_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LAG_BUCKETS_S = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


@dataclass(frozen=True, slots=True)
class Described:
    """What the reference says of a metric."""

    name: str
    kind: str
    labels: tuple[str, ...]
    about: str


DESCRIBED: list[Described] = []


def _counter(name: str, about: str, *labels: str) -> Counter:
    DESCRIBED.append(Described(f"{name}_total", "counter", labels, about))
    return Counter(name, about, labels, registry=REGISTRY)


def _histogram(name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    DESCRIBED.append(Described(name, "histogram", labels, about))
    return Histogram(name, about, labels, buckets=buckets, registry=REGISTRY)


API_CALLS = _counter(
    "scaleout_api_calls", "Calls of the EHPC API, by what they are for.", "action", "class", "result"
)
API_CALL_DURATION = _histogram(
    "scaleout_api_call_duration_seconds", "How long calls of the API took.", CALL_BUCKETS_S, "action"
)
OPERATION_DURATION = _histogram(
    "scaleout_operation_duration_seconds",
    "How long jobs took, from the sending of the call.",
    JOB_BUCKETS_S,
    "result",
)
EVENTS = _counter("scaleout_events", "Events that this process has written to the ledger.", "event")
STEPS = _counter("scaleout_ledger_steps", "Steps of the ledger; a conflict is decided again.", "result")
ROUND_TRIPS = _counter("scaleout_redis_round_trips", "Exchanges with Redis, each with several commands.")
COMMANDS = _counter("scaleout_redis_commands", "Commands sent to Redis; those of scripts count as one.")
LOOP_LAG = _histogram(
    "scaleout_event_loop_lag_seconds", "How late the event loop was, each second.", LAG_BUCKETS_S
)
DESCRIBED.append(Described("scaleout_build_info", "gauge", ("version", "python"), "What runs; always 1."))
_build = Gauge("scaleout_build_info", DESCRIBED[-1].about, ("version", "python"), registry=REGISTRY)
_build.labels(version("ehpc-scaleout"), platform.python_version()).set(1)
ProcessCollector(registry=REGISTRY)
