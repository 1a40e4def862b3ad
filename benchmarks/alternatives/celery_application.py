"""What the alternatives on Celery have alike: the app, the loop thread with its session, the outcome."""

import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import redis
from celery import Celery
from celery.signals import worker_ready, worker_shutdown

from benchmarks.alternatives.outcomes import put_outcome
from benchmarks.alternatives.provider import Provider
from benchmarks.alternatives.surroundings import Surroundings
from tasks.runtime.event_loop_thread import Process

CALL_TIMEOUT_S = 60.0

T = TypeVar("T")

given = Surroundings.from_environment()
server = redis.Redis.from_url(given.redis_url)
_process: Process[Provider] = Process()


def make_app(name: str) -> Celery:
    app = Celery(name, broker=given.redis_url, backend=given.redis_url)
    app.conf.update(
        task_default_queue="bench",
        worker_pool="threads",
        worker_concurrency=given.concurrency,
        broker_connection_retry_on_startup=True,
    )
    return app


def call(make: Callable[[Provider], Coroutine[Any, Any, T]]) -> T:
    """Make one call in the process's event loop, over its one session, and wait for it."""
    return _process.loop.run(make(_process.parts(_open)), timeout_s=CALL_TIMEOUT_S)


def write_outcome(outcome: dict[str, Any]) -> None:
    pipeline = server.pipeline(transaction=False)
    put_outcome(pipeline, outcome)
    pipeline.execute()


async def _open() -> Provider:
    return Provider(given)


@worker_ready.connect(weak=False)
def _ready(**_: Any) -> None:
    print("ready.", file=sys.__stdout__, flush=True)


@worker_shutdown.connect(weak=False)
def _close(**_: Any) -> None:
    _process.close(Provider.close, timeout_s=5)
