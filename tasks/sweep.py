"""`scaleout.sweep`: the doorbell. Starts what is due in the ledger and returns; nothing waits here."""

from __future__ import annotations

from celery import shared_task

from config.celery_options import SWEEP
from tasks.engine import worker_process
from tasks.engine.wiring import Engine

TIMEOUT_S = 20.0


@shared_task(name=SWEEP, ignore_result=True)
def sweep() -> None:
    """One pass over the due set; coming late, twice or not at all does no harm."""
    worker_process.run(_answer(worker_process.engine()), timeout_s=TIMEOUT_S)


async def _answer(engine: Engine) -> None:
    await engine.machinery.ledger.ring_heard()
    await engine.sweeper.sweep()
