"""Ask the ledger at every tick whether anything is due, and send a sweep message if so."""

import threading
from typing import Any

import structlog
from celery import bootsteps
from celery.platforms import EX_FAILURE
from celery.worker import state as worker_state

from config.celery_options import SWEEP
from tasks.engine import worker_process
from tasks.engine.wiring import Engine
from tasks.engine.worker_info import note_worker, this_worker
from tasks.ledger.identity import OtherAccount
from tasks.ledger.ledger import Ledger
from tasks.ledger.shell_acts import log_acts
from workers.broker.transport import Channel

log = structlog.get_logger(__name__)

UNDER_WAY_S = 10.0
TICK_TIMEOUT_S = 15.0
DESCRIBED_EVERY_MS = 30_000


class Ticker(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """A thread of the worker. Every worker ticks: none is special."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._worker, self._app = worker, worker.app
        self._name = str(worker.hostname)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._began_ms = 0
        self._described_ms: int | None = None

    def start(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._thread = threading.Thread(target=self._run, name="scaleout-ticker", daemon=True)
        self._thread.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._stopped.set()

    terminate = stop

    def _run(self) -> None:
        tick_s = self._app.conf.scaleout_tick_s
        reachable = True
        while not self._stopped.is_set():
            try:
                self._tick()
            except OtherAccount as error:
                log.error("other_account", detail=str(error))  # noqa: TRY400 - no error of the program
                worker_state.should_stop = EX_FAILURE
                return
            except Exception as error:  # noqa: BLE001
                # The next tick tries again, whatever it was: a worker without ticks does nothing.
                if reachable:
                    log.warning("tick_failed", kind=type(error).__name__, detail=str(error))
                reachable = False
            else:
                reachable = True
            self._stopped.wait(tick_s)

    def _tick(self) -> None:
        engine = worker_process.engine()
        ledger = engine.ctx.ledger
        worker_process.run(ledger.is_on_master(), timeout_s=TICK_TIMEOUT_S)
        requested = worker_process.run(ledger.tick(UNDER_WAY_S, self._name), timeout_s=TICK_TIMEOUT_S)
        if requested:
            self._send_sweep(ledger)
        engine.state_file.save(ledger.epoch)
        if requested is not None:
            worker_process.run(log_acts(ledger), timeout_s=TICK_TIMEOUT_S)
        self._describe(engine)
        worker_process.run(engine.scrub.step(), timeout_s=TICK_TIMEOUT_S)
        # Last, so that a problem with schedules stops nothing else.
        worker_process.run(engine.schedules.sync(), timeout_s=TICK_TIMEOUT_S)

    def _describe(self, engine: Engine) -> None:
        """Say twice a minute, for operators, who this worker is."""
        now = engine.ctx.clock.monotonic_ms()
        if self._described_ms is not None and now - self._described_ms < DESCRIBED_EVERY_MS:
            return
        self._began_ms = self._began_ms or engine.ctx.clock.now_ms()
        policy = engine.schedules.policy_file
        path = None if policy.path is None else str(policy.path)
        info = this_worker(self._name, self._began_ms, path, policy.digest, engine.ctx.clock.step_ms)
        worker_process.run(note_worker(engine.ctx.ledger, info), timeout_s=TICK_TIMEOUT_S)
        self._described_ms = now

    def _send_sweep(self, ledger: Ledger) -> None:
        try:
            self._app.send_task(SWEEP, ignore_result=True, retry=False)
        except Exception:
            # It may be lost, so the next tick sends again: a superfluous sweep does no harm.
            worker_process.run(ledger.sweep_started(), timeout_s=TICK_TIMEOUT_S)
            raise
        # While it reconnects to the broker it has none, and looks into all queues afterwards.
        consumer = getattr(getattr(self._worker, "consumer", None), "task_consumer", None)
        channel = getattr(consumer, "channel", None)
        if isinstance(channel, Channel):
            channel.tell()
