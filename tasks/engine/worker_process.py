"""The engine of this worker process, opened by the first Celery task that needs it."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from celery import current_app

from config.policy.file import PolicyFile
from config.settings import Settings, load
from tasks.contract.policy_file import open_policy
from tasks.engine.celery_results import resolve
from tasks.engine.wiring import Engine, open_engine
from tasks.handlers.publish_outcomes import TaskOutcome
from tasks.runtime.event_loop_thread import Process

DRAIN_MARGIN_S = 5.0

T = TypeVar("T")

_process: Process[Engine] = Process()


class _Consumer(Protocol):
    """The part of Celery's consumer that sends events; it has a new dispatcher after each reconnection."""

    event_dispatcher: Any


_consumer: _Consumer | None = None
_policy: PolicyFile | None = None


def engine() -> Engine:
    """Return the process's engine."""
    return _process.parts(_open)


def run(coroutine: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
    """Run `coroutine` in the engine's event loop, for at most `timeout_s` seconds."""
    return _process.loop.run(coroutine, timeout_s=timeout_s)


def use_policy(policy: PolicyFile) -> None:
    """Set the policy of this process, which was read at its start."""
    global _policy
    _policy = policy


def send_events_through(consumer: _Consumer) -> None:
    """Send Celery's `task-succeeded` events, which Flower shows, through this consumer's dispatcher."""
    global _consumer
    _consumer = consumer


def close(drain_s: float) -> None:
    """Drain and close the engine at the end of the process."""
    _process.close(lambda engine: engine.close(drain_s=drain_s), timeout_s=drain_s + DRAIN_MARGIN_S)


async def publish_results(outcomes: Sequence[TaskOutcome]) -> None:
    """Resolve the `AsyncResult`s that producers wait for."""
    await asyncio.to_thread(_resolve, outcomes)


def _resolve(outcomes: Sequence[TaskOutcome]) -> None:
    resolve(current_app.backend, outcomes)
    dispatcher = _consumer.event_dispatcher if _consumer is not None else None
    if dispatcher is None or not dispatcher.enabled:
        return
    for task_id, outcome in outcomes:
        dispatcher.send(
            "task-succeeded", uuid=task_id, result=repr(outcome["status"]), runtime=outcome["duration_s"]
        )


async def _open() -> Engine:
    settings = load(Settings)
    # As it was read when the process started: a broken file is refused from then on, however early.
    return await open_engine(settings, publish_results, _policy or open_policy(settings))
