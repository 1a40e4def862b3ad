"""Start what is due in the ledger, and return; nothing waits here.

Workers sweep at their ticks. The task is for the messages that workers before 0.2 send while they still run.
"""

from celery import shared_task

from config.celery_options import SWEEP
from tasks.engine import worker_process
from tasks.engine.wiring import Engine

TIMEOUT_S = 20.0


@shared_task(name=SWEEP, ignore_result=True)
def sweep() -> None:
    """Sweep the due set once; a message that arrives late, twice or never does no harm."""
    worker_process.run(start_due(worker_process.engine()), timeout_s=TIMEOUT_S)


async def start_due(engine: Engine) -> None:
    """Claim what is due, and start it in the background."""
    await engine.ctx.ledger.sweep_started()
    await engine.dispatcher.sweep()
