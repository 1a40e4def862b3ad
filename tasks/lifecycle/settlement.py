"""What becomes of an operation that may have been sent, and whose answer is not known."""

from __future__ import annotations

from tasks.ehpc.errors import InDoubt
from tasks.ledger.changes import Changes
from tasks.ledger.records import Operation, State
from tasks.lifecycle import next_step
from tasks.lifecycle.machinery import Machinery
from tasks.lifecycle.submission import record_answer


async def lease_ran_out(m: Machinery, operation: Operation) -> None:
    """Whoever was sending this has not been heard of: it may have been sent."""
    await record_answer(
        m, operation.operation_id, InDoubt("the worker that was sending it died or was stopped")
    )


async def settle(m: Machinery, operation: Operation) -> None:
    """Hold it, with its evidence: nobody but a person may decide whether to send again."""

    async def build() -> Changes | None:
        current = await m.ledger.operation(operation.operation_id)
        if current is None or current.state is not State.IN_DOUBT:
            return None
        requests = list((await m.ledger.requests(current.request_ids)).values())
        reason = current.doubt.reason if current.doubt else "unknown"
        because = f"nobody knows whether the provider took it: {reason}"
        return next_step.hold(current, requests, because=because, now=m.clock.now_ms())

    await m.commit_current(build)
