"""PURE: an operation's job has ended: what its requests get of it. Times in ms."""

from collections.abc import Sequence

from tasks.ledger.change_entries import KeepDuration
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.durations import duration_of
from tasks.ledger.events import Level
from tasks.ledger.pools import Pool
from tasks.ledger.record_values import JobResult, Reason, State, distribute
from tasks.ledger.records import Operation, Request
from tasks.ledger.snapshots import OperationSnapshot
from tasks.state_machine import circuit_breaker
from tasks.state_machine.cluster_lock import release_cluster
from tasks.state_machine.reconciliation import stop_polling
from tasks.state_machine.request_outcome import report_late_nodes, write_request
from tasks.state_machine.states import move


def note_job_result(operation: Operation, result: JobResult, now: int, lag_ms: int) -> ChangeSet:
    """Keep how the job ended; which nodes came is not known yet, so they are counted once they are listed.

    Args:
        lag_ms: how late nodes may be listed.
    """
    changes = ChangeSet()
    changes.write(operation.model_copy(update={"job_result": result}))
    stop_polling(changes, operation)
    changes.schedule(operation.due, max(now, min(result.ended_at, now) + lag_ms))
    return changes


def finish(
    snapshot: OperationSnapshot, result: JobResult, *, nodes_added: int, node_ids: Sequence[str], now: int
) -> ChangeSet:
    """End an operation whose job has ended and whose nodes are known.

    Args:
        nodes_added: how many nodes came, of which `node_ids` are known by name.
    """
    operation, requests, cluster = snapshot.operation, snapshot.served, snapshot.cluster
    done = move(
        operation,
        State.SUCCEEDED if result.successful else State.FAILED,
        job_result=result,
        nodes_added=nodes_added,
        node_ids=tuple(node_ids),
        error_codes=result.error_codes,
        finished_at=now,
    )
    changes = ChangeSet()
    changes.write(done)
    stop_polling(changes, operation)
    if result.successful:
        cluster = circuit_breaker.succeeded(changes, cluster, operation, requests)
    else:
        error = f"job {operation.job_id} failed {result.error_codes}".rstrip()
        cluster = circuit_breaker.failed(changes, cluster, operation, requests, error, now)
    release_cluster(changes, operation, cluster, now, changed_at=now)
    level: Level = "info" if nodes_added >= operation.node_count else "warning"
    fields = {"status": done.state.value, "nodes_added": nodes_added, "error_codes": result.error_codes}
    changes.record(done.event("operation_finished", level, **fields))
    if requests:
        changes.add(KeepDuration(Pool.of(requests[0].valid_spec), duration_of(done, now)))
    by_id = {request.request_id: request for request in requests}
    ids = list(node_ids)
    for allocation, part in zip(
        operation.allocations, distribute(operation.allocations, nodes_added), strict=True
    ):
        names, ids = tuple(ids[:part]), ids[part:]
        if (request := by_id.get(allocation.request_id)) is not None:
            _give_nodes(changes, request, done, part, names, now)
    return changes


def _give_nodes(
    changes: ChangeSet, request: Request, operation: Operation, nodes: int, ids: tuple[str, ...], now: int
) -> None:
    update = {"error_codes": operation.error_codes, "finished_at": now, "nodes_added": nodes, "node_ids": ids}
    given = request.with_assignment(operation, **update)
    assignment = given.assignment_in(operation.operation_id)
    if nodes < assignment.node_count:
        of = f"{nodes} of {assignment.node_count} nodes"
        message = f"job {operation.job_id} ended as {operation.state} with {of}"
        if operation.insisted:
            message = f"{message}, as far as the provider shows them"
        if operation.error_codes:
            message = f"{message}: {operation.error_codes}"
        given = given.model_copy(update={"last_reason": Reason(kind="job_failed", message=message)})
    write_request(changes, given, now)
    if given.ended and nodes:
        report_late_nodes(changes, given, assignment)
