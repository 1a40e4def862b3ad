"""Celery's remote control, where plain Celery's own commands would say what is not so."""

from typing import Any

import structlog
from celery.utils.functional import maybe_list
from celery.worker import control
from redis.exceptions import RedisError

from tasks.engine import worker_process
from tasks.engine.revocation import revoke as revoke_requests

log = structlog.get_logger(__name__)

TIMEOUT_S = 10.0
STAMPS = "revoking by stamps is not supported: revoke by task id, or send scaleout.cancel"


def install() -> None:
    """Replace the commands of Celery's own that have these names."""
    ids = "[id1 [id2 [... [idN]]]]"
    control.control_command(name="revoke", variadic="task_id", signature=ids)(revoke)
    control.control_command(name="terminate", variadic="task_id", signature=f"<signal> {ids}")(terminate)
    stamped = control.control_command(name="revoke_by_stamped_headers", variadic="headers")
    stamped(revoke_by_stamped_headers)


def revoke(_state: Any, task_id: Any, **_: Any) -> dict[str, Any]:
    """Cancel the requests of these tasks. Each worker does it, and the first one counts."""
    task_ids = [str(one) for one in maybe_list(task_id) or ()]
    ledger = worker_process.engine().ctx.ledger
    try:
        done = worker_process.run(revoke_requests(ledger, task_ids), timeout_s=TIMEOUT_S)
    except (RedisError, OSError) as error:
        log.warning("revoke_failed", task_ids=task_ids, detail=str(error))
        return dict(control.nok(f"the ledger cannot be reached: {error}"))
    log.info("tasks_revoked", **done)
    return dict(control.ok(", ".join(f"{name}: {result}" for name, result in done.items())))


def terminate(state: Any, signal: Any, task_id: Any, **_: Any) -> dict[str, Any]:  # noqa: ARG001 - Celery's names
    """Do as `revoke`: the body of a task takes no time that could be cut short."""
    return revoke(state, task_id)


def revoke_by_stamped_headers(_state: Any, headers: Any, **_: Any) -> dict[str, Any]:  # noqa: ARG001
    """Refuse it: what is accepted is not known by stamps."""
    return dict(control.nok(STAMPS))
