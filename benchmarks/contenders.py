"""What is measured: this project and the alternatives, each started and fed in its own way."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from celery import Celery

from benchmarks.alternatives.outcomes import STREAM as ALTERNATIVES_STREAM
from benchmarks.processes import ROOT, BenchmarkFailed, Measured, start
from benchmarks.provider import ACCESS_KEY_ID, SECRET_ACCESS_KEY, ZONE

ARQ_PYTHON = ROOT / ".bench-venv" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Request:
    request_id: str
    cluster_id: str
    node_count: int = 1
    zone: str = ZONE


@dataclass(frozen=True, slots=True)
class Stage:
    """What a system runs against. `at_once`: jobs that will go at once; `settings`: this project's own."""

    redis_url: str
    api_url: str
    folder: Path
    poll_s: float
    at_once: int
    workers: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """`processes` are those whose cost counts; `send` takes a request in as its producers would, through
    `producers` if those are processes of their own."""

    processes: list[Measured]
    send: Callable[[Request], None]
    producers: list[Measured] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class System:
    """`message_command` is the Redis command by which its broker takes one message."""

    name: str
    title: str
    stream: str
    message_command: str | None
    start: Callable[[Stage], AbstractContextManager[Running]]

    @property
    def usable(self) -> bool:
        return self.name != "arq" or ARQ_PYTHON.exists()


def _scaleout_environment(stage: Stage) -> dict[str, str]:
    settings = {
        "REDIS_URL": stage.redis_url,
        "API_URL": stage.api_url,
        "ACCESS_KEY_ID": ACCESS_KEY_ID,
        "SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "POLL_INTERVAL_S": stage.poll_s,
        "LOG_LAG_S": 1,
        "QUOTA_CALLS": 1_000_000_000,
        **stage.settings,
    }
    return {**_inherited(), **{f"SCALEOUT_{name}": str(value) for name, value in settings.items()}}


def _alternative_environment(stage: Stage, concurrency: int) -> dict[str, str]:
    given = {
        "REDIS_URL": stage.redis_url,
        "API_URL": stage.api_url,
        "ACCESS_KEY_ID": ACCESS_KEY_ID,
        "SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "POLL_S": stage.poll_s,
        "CONCURRENCY": concurrency,
    }
    return {**_inherited(), **{f"BENCH_{name}": str(value) for name, value in given.items()}}


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("SCALEOUT_", "BENCH_"))}


@contextmanager
def _celery_workers(
    name: str, app: str, task: str, queue: str, env: Mapping[str, str], stage: Stage
) -> Iterator[Running]:
    with ExitStack() as stack:
        arguments = ["-m", "celery", "-A", app, "worker", "-n"]
        processes = [
            stack.enter_context(start(f"{name}-{n}", [*arguments, f"{n}@bench"], env, stage.folder))
            for n in range(stage.workers)
        ]
        for process in processes:
            process.until_written("ready.")
        # Without a backend: nobody here waits for results, and subscribing to each has its price.
        producer = stack.enter_context(Celery(broker=stage.redis_url))

        def send(request: Request) -> None:
            producer.send_task(task, kwargs=asdict(request), queue=queue, task_id=request.request_id)

        yield Running(processes, send)


def _scaleout(stage: Stage) -> AbstractContextManager[Running]:
    env = _scaleout_environment(stage)
    return _celery_workers("scaleout", "workers", "scaleout.add_nodes", "scaleout", env, stage)


def _celery(
    module: str, at_once: Callable[[Stage], int]
) -> Callable[[Stage], AbstractContextManager[Running]]:
    def begin(stage: Stage) -> AbstractContextManager[Running]:
        env = _alternative_environment(stage, at_once(stage))
        app = f"benchmarks.alternatives.{module}"
        return _celery_workers(module, app, "bench.add_nodes", "bench", env, stage)

    return begin


@contextmanager
def _arq(stage: Stage) -> Iterator[Running]:
    if not ARQ_PYTHON.exists():
        raise BenchmarkFailed("arq has an environment of its own: make .bench-venv")
    env = _alternative_environment(stage, stage.at_once)
    python = str(ARQ_PYTHON)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                start(
                    f"arq-{n}", ["-m", "benchmarks.alternatives.arq_worker"], env, stage.folder, python=python
                )
            )
            for n in range(stage.workers)
        ]
        producer = stack.enter_context(
            start(
                "arq-producer",
                ["-m", "benchmarks.alternatives.arq_producer"],
                env,
                stage.folder,
                python=python,
            )
        )
        for process in (*workers, producer):
            process.until_written("ready.")
        yield Running(workers, lambda request: producer.write(json.dumps(asdict(request))), [producer])


@contextmanager
def _plain_asyncio(stage: Stage) -> Iterator[Running]:
    env = _alternative_environment(stage, stage.at_once)
    arguments = ["-m", "benchmarks.alternatives.plain_asyncio"]
    with start("asyncio", arguments, env, stage.folder, python=sys.executable) as script:
        script.until_written("ready.")
        yield Running([script], lambda request: script.write(json.dumps(asdict(request))))


CELERY_CONCURRENCY = 8

SCALEOUT = System("scaleout", "ehpc-scaleout", "scaleout:outcomes", "lpush", _scaleout)
CELERY_POLLING = System(
    "celery-polling",
    "Celery, polls in the task",
    ALTERNATIVES_STREAM,
    "lpush",
    _celery("celery_polling", lambda stage: stage.at_once),
)
CELERY_RETRY = System(
    "celery-retry",
    "Celery, self.retry",
    ALTERNATIVES_STREAM,
    "lpush",
    _celery("celery_retry", lambda _: CELERY_CONCURRENCY),
)
ARQ = System("arq", "arq, a coroutine a job", ALTERNATIVES_STREAM, "zadd", _arq)
PLAIN_ASYNCIO = System("asyncio", "asyncio, no queue", ALTERNATIVES_STREAM, None, _plain_asyncio)
ONE_CALL = System(
    "celery-one-call",
    "Celery, one call, not polled",
    ALTERNATIVES_STREAM,
    "lpush",
    _celery("celery_one_call", lambda _: CELERY_CONCURRENCY),
)

CONTENDERS = (SCALEOUT, CELERY_POLLING, CELERY_RETRY, ARQ, PLAIN_ASYNCIO)
