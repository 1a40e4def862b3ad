"""Pure: what an operation whose job has ended gives to its requests. Times in ms."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.ledger.change_set import Changes
from tasks.ledger.durations import Pool, took
from tasks.ledger.records import Cluster, Operation, Refusal, Request, State, Verdict, give
from tasks.state_machine import circuit_breaker
from tasks.state_machine.next_step import due_of, event, open_gate, stop_following, with_share
from tasks.state_machine.request_outcome import report_late_nodes, write_request


def note_verdict(operation: Operation, verdict: Verdict, now: int) -> Changes:
    """The log says how the job ended, but not which nodes came: listNodes has to be asked."""
    changes = Changes()
    changes.put(operation.model_copy(update={"verdict": verdict}))
    assert operation.job_id is not None  # noqa: S101 - only an operation with a job has a verdict
    stop_following(changes, operation)
    changes.due[due_of(operation)] = now
    return changes


def finish(
    operation: Operation,
    requests: Sequence[Request],
    cluster: Cluster,
    verdict: Verdict,
    *,
    nodes_added: int,
    node_ids: Sequence[str],
    now: int,
) -> Changes:
    """The job has ended and it is known what came: `nodes_added` nodes, of which `node_ids` have names."""
    state = State.SUCCEEDED if verdict.successful else State.FAILED
    done = operation.model_copy(
        update={
            "state": state,
            "verdict": verdict,
            "nodes_added": nodes_added,
            "node_ids": tuple(node_ids),
            "error_codes": verdict.error_codes,
            "finished_at": now,
        }
    )
    changes = Changes()
    changes.put(done)
    stop_following(changes, operation)
    if verdict.successful:
        cluster = circuit_breaker.succeeded(changes, cluster, operation, requests)
    else:
        said = f"job {operation.job_id} failed {verdict.error_codes}".rstrip()
        cluster = circuit_breaker.failed(changes, cluster, operation, requests, said, now)
    open_gate(changes, operation, cluster, now)
    complete = nodes_added >= operation.node_count
    changes.tell(
        event(
            "operation_finished",
            done,
            "info" if complete else "warning",
            status=state.value,
            nodes_added=nodes_added,
            error_codes=verdict.error_codes,
        )
    )
    if requests:
        changes.durations.append((Pool.of(requests[0]), took(done, now)))
    by_id = {request.request_id: request for request in requests}
    ids = list(node_ids)
    for allocation, part in zip(operation.allocations, give(operation.allocations, nodes_added), strict=True):
        names, ids = tuple(ids[:part]), ids[part:]
        request = by_id.get(allocation.request_id)
        if request is not None:
            _give_nodes(changes, request, done, part, names, now)
    return changes


def _give_nodes(
    changes: Changes, request: Request, operation: Operation, nodes: int, ids: tuple[str, ...], now: int
) -> None:
    given = with_share(
        request,
        operation,
        state=operation.state,
        job_id=operation.job_id,
        error_codes=operation.error_codes,
        finished_at=now,
        nodes_added=nodes,
        node_ids=ids,
    )
    share = next(share for share in given.shares if share.operation_id == operation.operation_id)
    if nodes < share.node_count:
        message = (
            f"job {operation.job_id} ended as {operation.state} with {nodes} of {share.node_count} nodes"
        )
        if operation.error_codes:
            message = f"{message}: {operation.error_codes}"
        given = given.model_copy(update={"last_refusal": Refusal(kind="job_failed", message=message)})
    write_request(changes, given, now)
    if given.ended and nodes:
        report_late_nodes(changes, given, share)
