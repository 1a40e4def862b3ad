"""The Celery app: `celery -A workers worker` needs no further flags."""

import asyncio
import gc
import os
import sys
from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutdown
from kombu import Exchange, Queue

from config.celery_options import APP_NAME, celery_options
from config.logs.setup import configure_logging
from config.policy.file import PolicyError
from config.settings import LedgerSettings, Settings, SettingsError, load, unknown_variables
from tasks.contract.policy_file import open_policy
from tasks.contract.request import MAX_DEADLINE_S
from tasks.engine import worker_process
from tasks.ledger.identity import OtherAccount
from workers.broker import consumer, transport
from workers.broker.compression import bound_decompression
from workers.broker.dead_letters import DeadLetters
from workers.ticker import Ticker

YOUNG_OBJECTS = 20_000  # between two collections; Python's own number is 700


def make_app(settings: Settings) -> Celery:
    """Return the worker's app. A producer needs none of this: a plain Celery client suffices."""
    queues = (settings.sweep_queue, settings.queue)
    app = Celery(APP_NAME, include=["tasks.add_nodes", "tasks.sweep"])
    # A result is stored when its request ends, and must still exist when the producer reads it.
    app.conf.update(celery_options(settings, result_expires_s=MAX_DEADLINE_S + settings.outcome_ttl_s))
    app.conf.update(
        broker_transport=transport.TRANSPORT,
        worker_consumer=consumer.CONSUMER,
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in queues],
        scaleout_tick_s=settings.tick_s,
    )
    app.steps["worker"].add(Ticker)
    return app


def _settings() -> Settings:
    try:
        return load(Settings)
    except SettingsError as error:
        # One line, no traceback: the environment has to be corrected.
        sys.exit(f"scaleout: {error}")


_loaded = _settings()
app = make_app(_loaded)


@setup_logging.connect(weak=False)
def _log(**_: Any) -> None:
    _configure_logging(_loaded)


def _configure_logging(settings: LedgerSettings) -> None:
    configure_logging(log_format=settings.log_format, level=settings.log_level, secrets=settings.secrets())


@worker_init.connect(weak=False)
def _log_from_the_start(**_: Any) -> None:
    # Celery sets up logging later, after what is checked below.
    _configure_logging(_loaded)


@worker_init.connect(weak=False)
def _refuse_autoscale(sender: Any, **_: Any) -> None:
    if sender.options.get("autoscale"):
        # Celery would ask the pool to grow at every message, which a pool of threads cannot.
        sys.exit("scaleout: --autoscale is not supported, as the pool has threads: use --concurrency instead")


@worker_init.connect(weak=False)
def _read_policy(**_: Any) -> None:
    # Only in a worker: a health check, for example, does not need the file.
    try:
        worker_process.use_policy(open_policy(_loaded))
    except PolicyError as error:
        sys.exit(f"scaleout: {error}")


@worker_init.connect(weak=False)
def _refuse_other_account(**_: Any) -> None:
    try:
        asyncio.run(worker_process.claim_ledger(_loaded))
    except OtherAccount as error:
        sys.exit(f"scaleout: {error}")


@worker_ready.connect(weak=False)
def _ready(sender: Any, **_: Any) -> None:
    worker_process.send_events_through(sender)
    _collect_less_often()
    for name in unknown_variables(os.environ):
        structlog.get_logger(__name__).warning("unknown_setting", name=name)


def _collect_less_often() -> None:
    """Collect garbage less often: it took a tenth of a worker's CPU, and there are hardly any cycles."""
    gc.collect()
    # Everything that is loaded by now stays, and need not be scanned again.
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 50, 100)


@worker_shutdown.connect(weak=False)
def _drain(**_: Any) -> None:
    worker_process.close(drain_s=_loaded.http_timeout_s + 5)


bound_decompression()
_dead_letters = DeadLetters(_loaded)
transport.send_dead_letters_to(_dead_letters.keep)
consumer.send_dead_letters_to(_dead_letters.keep)
