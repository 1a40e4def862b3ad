"""Finds out by listNodes which nodes an ended job has brought, and finishes its operation."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.ehpc.errors import EhpcError, Rejected
from tasks.handlers.context import Machinery
from tasks.handlers.provider_calls import MustWait, list_cluster_nodes, read_refused
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.records import Operation, State, Verdict
from tasks.ledger.snapshots import Scene
from tasks.state_machine import completion, next_step
from tasks.state_machine.node_arrivals import needs_listing, nodes_that_came


async def finish_job(m: Machinery, scene: Scene, verdict: Verdict) -> None:
    """The log has shown the end of a job: finish its operation, or have its nodes counted first."""
    known: Scene | None = scene

    async def build() -> Changes | None:
        nonlocal known
        current, known = known or await m.ledger.scene(scene.operation.operation_id), None
        if current is None or current.operation.state is not State.RUNNING:
            return None
        operation = current.operation
        if operation.verdict is not None:
            return None
        if needs_listing(operation, verdict):
            return completion.note_verdict(operation, verdict, m.clock.now_ms())
        return _finished(m, current, verdict, operation.node_count, verdict.node_ids[: operation.node_count])

    await m.commit_current(build)


async def count_nodes(m: Machinery, operation: Operation) -> None:
    """Ask listNodes what came, and finish. A listing that fails is tried again later."""
    try:
        rows = await list_cluster_nodes(m, operation.zone, operation.cluster_id)
    except MustWait as wait:
        await m.commit(next_step.try_again(operation, at=wait.until, reason=wait.refusal))
        return
    except EhpcError as error:
        if isinstance(error, Rejected) and await _held_for_good(m, operation, error):
            return
        later = await read_refused(m, error, operation.tries)
        await m.commit(next_step.try_again(operation, at=later.until, reason=later.refusal))
        return

    async def build() -> Changes | None:
        scene = await m.ledger.scene(operation.operation_id)
        if scene is None or scene.operation.state is not State.RUNNING or scene.operation.verdict is None:
            return None
        verdict = scene.operation.verdict
        came = nodes_that_came(scene.operation, verdict, rows)
        return _finished(m, scene, verdict, len(came), came)

    await m.commit_current(build)


async def _held_for_good(m: Machinery, operation: Operation, error: Rejected) -> bool:
    """Whether it is held now: what is refused for good is not asked for for ever, once no request waits."""
    scene = await m.ledger.scene(operation.operation_id)
    now = m.clock.now_ms()
    if scene is None or scene.is_waited_for(now):
        return False
    because = (
        f"job {operation.job_id} has ended, but the nodes of {operation.cluster_id} cannot be listed: {error}"
    )
    word = await m.commit(next_step.hold(scene.operation, scene.served, because=because, now=now))
    return word is Committed.OK


def _finished(
    m: Machinery, scene: Scene, verdict: Verdict, nodes_added: int, node_ids: Sequence[str]
) -> Changes:
    return completion.finish(
        scene.operation,
        scene.served,
        scene.cluster,
        verdict,
        nodes_added=nodes_added,
        node_ids=node_ids,
        now=m.clock.now_ms(),
    )
