"""`scaleout.sweep`: start what is due in the ledger, and return; nothing waits here."""

from celery import shared_task

from config.celery_options import SWEEP
from tasks.engine import worker_process
from tasks.engine.wiring import Engine

TIMEOUT_S = 20.0


@shared_task(name=SWEEP, ignore_result=True)
def sweep() -> None:
    """Sweep the due set once; a message that arrives late, twice or never does no harm."""
    worker_process.run(_sweep(worker_process.engine()), timeout_s=TIMEOUT_S)


async def _sweep(engine: Engine) -> None:
    await engine.ctx.ledger.sweep_started()
    await engine.dispatcher.sweep()
