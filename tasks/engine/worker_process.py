"""The engine of this worker process, opened by the first Celery task that needs it."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import structlog
from celery import current_app
from redis.exceptions import RedisError

from config.policy.file import PolicyFile
from config.settings import Settings, load
from tasks.contract.policy_file import open_policy
from tasks.engine.celery_results import resolve
from tasks.engine.wiring import Engine, open_engine, open_ledger
from tasks.handlers.publish_outcomes import TaskOutcome
from tasks.runtime.event_loop_thread import Process

log = structlog.get_logger(__name__)

DRAIN_MARGIN_S = 5.0
FIRST_CONTACT_S = 3.0

T = TypeVar("T")

_process: Process[Engine] = Process()


class _Consumer(Protocol):
    """The part of Celery's consumer that sends events; it has a new dispatcher after each reconnection."""

    event_dispatcher: Any


_consumer: _Consumer | None = None
_policy: PolicyFile | None = None
_results_reachable = True


def engine() -> Engine:
    """Return the process's engine."""
    return _process.parts(_open)


def run(coroutine: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
    """Run `coroutine` in the engine's event loop, for at most `timeout_s` seconds."""
    return _process.loop.run(coroutine, timeout_s=timeout_s)


async def claim_ledger(settings: Settings) -> None:
    """Note this worker's account in the ledger, if the server answers at once.

    Raises:
        OtherAccount: the ledger belongs to another one.
    """
    with suppress(RedisError, OSError):
        async with asyncio.timeout(FIRST_CONTACT_S):
            ledger = await open_ledger(settings)
            try:
                await ledger.claim_for_account(settings.access_key_id.get_secret_value())
            finally:
                await ledger.redis.aclose()


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
    """Resolve the `AsyncResult`s that producers wait for; say once that the result store is away."""
    global _results_reachable
    try:
        await asyncio.to_thread(_resolve, outcomes)
    except (RedisError, OSError) as error:
        if _results_reachable:
            log.warning("results_unreachable", kind=type(error).__name__, detail=str(error))
        _results_reachable = False
        raise
    if not _results_reachable:
        log.info("results_reachable")
    _results_reachable = True


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
