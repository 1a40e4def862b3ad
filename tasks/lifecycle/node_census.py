"""Finds out by listNodes which nodes an ended job has brought, and finishes its operation."""

from __future__ import annotations

from tasks.ehpc.errors import EhpcError
from tasks.ledger.changes import Changes
from tasks.ledger.records import Operation, State, Verdict
from tasks.lifecycle import next_step
from tasks.lifecycle.api_calls import MustWait, list_cluster_nodes, read_refused
from tasks.lifecycle.arrivals import needs_listing, nodes_that_came
from tasks.lifecycle.machinery import Machinery


async def finish_job(m: Machinery, operation_id: str, verdict: Verdict) -> None:
    """The log has shown the end of a job: finish its operation, or have its nodes counted first."""

    async def build() -> Changes | None:
        operation = await m.ledger.operation(operation_id)
        if operation is None or operation.state is not State.RUNNING or operation.verdict is not None:
            return None
        if needs_listing(operation, verdict):
            return next_step.job_ended(operation, verdict.model_copy(update={"ended_at": _end(m, verdict)}))
        node_ids = verdict.node_ids[: operation.node_count]
        return await _finished(m, operation, verdict, operation.node_count, node_ids)

    await m.commit_current(build)


async def count_nodes(m: Machinery, operation: Operation) -> None:
    """Ask listNodes what came, and finish. A listing that fails is tried again later."""
    try:
        rows = await list_cluster_nodes(m, operation.zone, operation.cluster_id)
    except MustWait as wait:
        await m.commit(next_step.try_again(operation, at=wait.until, reason=wait.refusal))
        return
    except EhpcError as error:
        later = await read_refused(m, error, operation.tries)
        await m.commit(next_step.try_again(operation, at=later.until, reason=later.refusal))
        return

    async def build() -> Changes | None:
        current = await m.ledger.operation(operation.operation_id)
        if current is None or current.state is not State.RUNNING or current.verdict is None:
            return None
        came = nodes_that_came(current, current.verdict, rows)
        return await _finished(m, current, current.verdict, len(came), came)

    await m.commit_current(build)


async def _finished(
    m: Machinery,
    operation: Operation,
    verdict: Verdict,
    nodes_added: int,
    node_ids: tuple[str, ...] | list[str],
) -> Changes:
    requests = list((await m.ledger.requests(operation.request_ids)).values())
    cluster = await m.ledger.cluster(operation.cluster_id)
    return next_step.finish(
        operation,
        requests,
        cluster,
        verdict,
        nodes_added=nodes_added,
        node_ids=node_ids,
        now=m.clock.now_ms(),
    )


def _end(m: Machinery, verdict: Verdict) -> int:
    """Never in the future: the provider's clock is not the ledger's."""
    return min(verdict.ended_at, m.clock.now_ms())
