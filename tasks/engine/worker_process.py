"""The engine of this worker process, opened by the first Celery task that needs it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import structlog
from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from config.policy.file import PolicyFile
from config.settings import Settings, load
from tasks.contract.policy_file import open_policy
from tasks.engine import celery_results
from tasks.engine.callbacks import send_callbacks
from tasks.engine.wiring import Engine, open_engine, open_ledger
from tasks.handlers.publish_outcomes import TaskEnd
from tasks.handlers.publish_progress import TaskStatus
from tasks.ledger.server_options import looking_at, read_options, refuse_cluster
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


def engine() -> Engine:
    """Return the process's engine."""
    return _process.parts(_open)


def run(coroutine: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
    """Run `coroutine` in the engine's event loop, for at most `timeout_s` seconds."""
    return _process.loop.run(coroutine, timeout_s=timeout_s)


async def meet_server(settings: Settings) -> None:
    """Note this worker's account in the ledger, and warn of what its server may lose; if it answers at once.

    Raises:
        OtherAccount: the ledger belongs to another one.
        ClusterNode: the server is no place for a ledger.
    """
    with suppress(RedisError, OSError):
        async with asyncio.timeout(FIRST_CONTACT_S):
            async with looking_at(settings.ledger_address) as redis:
                await refuse_cluster(redis)
                for option in await read_options(redis):
                    if option.found is not None and not option.right:
                        log.warning("server_option", option=option.name, detail=option.detail)
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


class CeleryPublisher:
    """Tells producers by Celery's result store and by messages; in threads, for Celery's code blocks."""

    def __init__(self) -> None:
        self._reachable = True

    async def resolve(self, ends: Sequence[TaskEnd]) -> None:
        """Resolve the `AsyncResult`s that producers wait for."""
        if ends:
            await self._try(lambda: _resolve(ends))

    async def call_back(self, end: TaskEnd) -> None:
        """Send the callbacks that a producer has linked to its task."""
        await self._try(lambda: _call_back(end))

    async def tell(self, told: Sequence[TaskStatus]) -> None:
        """Store the state of requests that have not ended."""
        await self._try(lambda: celery_results.tell(current_app.backend, told))

    async def _try(self, work: Callable[[], None]) -> None:
        """Do it in a thread; say once that the result store, or the broker, is away."""
        try:
            await asyncio.to_thread(work)
        except OperationalError as error:
            self._report(error)
            raise RedisConnectionError(str(error)) from error
        except (RedisError, OSError) as error:
            self._report(error)
            raise
        if not self._reachable:
            log.info("results_reachable")
        self._reachable = True

    def _report(self, error: Exception) -> None:
        if self._reachable:
            log.warning("results_unreachable", kind=type(error).__name__, detail=str(error))
        self._reachable = False


def _resolve(ends: Sequence[TaskEnd]) -> None:
    celery_results.resolve(current_app.backend, ends)
    dispatcher = _consumer.event_dispatcher if _consumer is not None else None
    if dispatcher is None or not dispatcher.enabled:
        return
    for end in ends:
        status, duration_s = end.outcome.get("status"), end.outcome.get("duration_s", 0.0)
        dispatcher.send("task-succeeded", uuid=end.caller.task_id, result=repr(status), runtime=duration_s)


def _call_back(end: TaskEnd) -> None:
    send_callbacks(current_app, end.caller.task_id, end.caller.callbacks or {}, end.outcome)


async def _open() -> Engine:
    settings = load(Settings)
    # As it was read when the process started: a broken file is refused from then on, however early.
    return await open_engine(settings, CeleryPublisher(), _policy or open_policy(settings))
