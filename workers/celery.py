"""The Celery app: `celery -A workers worker` needs no further flags."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

import structlog
from celery import Celery
from celery.apps import worker as celery_worker
from celery.signals import (
    celeryd_after_setup,
    celeryd_init,
    setup_logging,
    worker_init,
    worker_ready,
    worker_shutdown,
)
from celery.utils.nodenames import node_format
from kombu import Exchange, Queue
from prometheus_client import start_http_server

from config.celery_options import APP_NAME, celery_options
from config.logs.setup import configure_logging
from config.policy.file import PolicyError
from config.secret_files import readable_by_others
from config.settings import LedgerSettings, Settings, SettingsError, load, unknown_variables
from tasks.contract.policy_file import open_policy
from tasks.contract.request import MAX_DEADLINE_S
from tasks.engine import worker_process
from tasks.engine.traces import start_traces
from tasks.ledger.identity import OtherAccount
from tasks.ledger.server_options import ClusterNode
from tasks.runtime import tracing
from tasks.runtime.garbage import collect_less_often
from tasks.runtime.process_metrics import REGISTRY
from workers import remote_control, start_options
from workers.broker import consumer, transport
from workers.broker.compression import bound_decompression
from workers.broker.dead_letters import DeadLetters
from workers.ticker import Ticker


def make_app(settings: Settings) -> Celery:
    """Return the worker's app. A producer needs none of this: a plain Celery client suffices."""
    queues = (settings.sweep_queue, settings.queue)
    transport.install()
    app = Celery(APP_NAME, include=["tasks.add_nodes", "tasks.cancel", "tasks.sweep"])
    # A result is stored when its request ends, and must still exist when the producer reads it.
    app.conf.update(celery_options(settings, result_expires_s=MAX_DEADLINE_S + settings.outcome_ttl_s))
    app.conf.update(
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


@celeryd_init.connect(weak=False)
def _begin(sender: str, instance: Any, **_: Any) -> None:
    """Before all that Celery itself does: what it says at start must be lines of the log too."""
    given = start_options.given_options()
    if (problem := start_options.problem_with(given, _loaded.queue)) is not None:
        sys.exit(f"scaleout: {problem}")
    _configure_logging(_loaded, given, node=sender)
    if _loaded.log_format == "json":
        instance.quiet = True  # no banner
        celery_worker.safe_say = _say


def _say(text: str, *_: Any) -> None:
    """Log what Celery prints when it is told to stop."""
    structlog.get_logger("celery.apps.worker").info(text.strip())


@celeryd_after_setup.connect(weak=False)
def _read_the_sweep_queue(instance: Any, **_: Any) -> None:
    """Read it whatever --queues says: otherwise running jobs are polled by nobody."""
    queues = instance.app.amqp.queues
    if _loaded.sweep_queue not in queues.consume_from:
        queues.select_add(_loaded.sweep_queue)


@setup_logging.connect(weak=False)
def _log(**_: Any) -> None:
    if not logging.getLogger().handlers:
        _configure_logging(_loaded)


def _configure_logging(
    settings: LedgerSettings, given: Mapping[str, Any] = MappingProxyType({}), node: str = ""
) -> None:
    """Log as the settings say. --loglevel and --logfile of the command line count more."""
    level, path = given.get("loglevel"), given.get("logfile")
    configure_logging(
        log_format=settings.log_format,
        level=logging.getLevelName(level) if isinstance(level, int) else level or settings.log_level,
        secrets=settings.secrets(),
        stream=None if not path else _opened(Path(node_format(path, node))),
    )


def _opened(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        sys.exit(f"scaleout: --logfile {path} cannot be written: {error.strerror}")


@worker_init.connect(weak=False)
def _read_policy(**_: Any) -> None:
    # Only in a worker: a health check, for example, does not need the file.
    try:
        worker_process.use_policy(open_policy(_loaded))
    except PolicyError as error:
        sys.exit(f"scaleout: {error}")


@worker_init.connect(weak=False)
def _meet_server(**_: Any) -> None:
    try:
        asyncio.run(worker_process.meet_server(_loaded))
    except (OtherAccount, ClusterNode) as error:
        sys.exit(f"scaleout: {error}")


@worker_init.connect(weak=False)
def _start_traces(**_: Any) -> None:
    try:
        start_traces(_loaded, "worker")
    except SettingsError as error:
        sys.exit(f"scaleout: {error}")


@worker_init.connect(weak=False)
def _serve_metrics(**_: Any) -> None:
    if _loaded.metrics_port is None:
        return
    try:
        start_http_server(_loaded.metrics_port, _loaded.metrics_host, REGISTRY)
    except OSError as error:
        where = f"SCALEOUT_METRICS_HOST={_loaded.metrics_host}, SCALEOUT_METRICS_PORT={_loaded.metrics_port}"
        sys.exit(f"scaleout: {where} cannot be listened on: {error.strerror}; each worker needs its own")


@worker_ready.connect(weak=False)
def _ready(sender: Any, **_: Any) -> None:
    worker_process.send_events_through(sender)
    collect_less_often()
    for problem in readable_by_others(Settings):
        structlog.get_logger(__name__).warning("secret_file_readable", detail=problem)
    for name in unknown_variables(os.environ):
        structlog.get_logger(__name__).warning("unknown_setting", name=name)


@worker_shutdown.connect(weak=False)
def _drain(**_: Any) -> None:
    worker_process.close(drain_s=_loaded.http_timeout_s + 5)
    tracing.stop()


remote_control.install()
bound_decompression()
_dead_letters = DeadLetters(_loaded)
transport.send_dead_letters_to(_dead_letters.keep)
consumer.send_dead_letters_to(_dead_letters.keep)
