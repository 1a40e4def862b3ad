"""Takes back an operation that has waited to be sent, so that it is compared with the policy once more."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.handlers.context import Machinery
from tasks.intake.limit_usage import COUNT_HOLDS_MS
from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.due import Due, DueKind
from tasks.ledger.records import Cluster, Operation, Request, State
from tasks.ledger.snapshots import Scene
from tasks.ledger.transactions import MOST_CONTENTION, Contention
from tasks.limits.applicable import restricts
from tasks.state_machine import next_step
from tasks.state_machine.request_outcome import enter_demand


async def planned_anew(m: Machinery, scene: Scene) -> bool:
    """Whether the operation is not to be sent, because its plan is no longer fresh and there is a policy.

    While it waited, for the quota or the provider, the policy or the cluster may have become another.
    """
    if m.clock.now_ms() - scene.operation.planned_at <= COUNT_HOLDS_MS or not restricts(m.policy()):
        return False
    current: Scene | None = scene
    for _ in range(MOST_CONTENTION):
        if current is None or current.operation.state is not State.PLANNED:
            return True
        changes = take_back(current.operation, current.requests, current.cluster, m.clock.now_ms())
        word = await m.commit(changes)
        if word is not Committed.STALE:
            # From a ledger with data missing nothing is sent, so that there is nothing to plan anew for.
            return word is not Committed.LOST
        current = await m.ledger.scene(scene.operation.operation_id)
    raise Contention(f"operation {scene.operation.operation_id} was changed by others again and again")


def take_back(operation: Operation, requests: Mapping[str, Request], cluster: Cluster, now: int) -> Changes:
    """Pure: nothing was sent; all nodes go back to demand, at their old place, and the gate opens."""
    changes = Changes(sends=True)
    gone = operation.model_copy(update={"state": State.ABANDONED, "finished_at": now})
    changes.put(gone)
    changes.expire.append(gone)
    wanted = {part.request_id for part in next_step.still_wanted(operation, requests, now)}
    for request in requests.values():
        if request.request_id not in wanted:
            next_step.drop(changes, request, operation, now)
            continue
        nodes = sum(
            share.node_count for share in request.shares if share.operation_id == operation.operation_id
        )
        left = next_step.without_share(request, operation)
        back = left.model_copy(update={"wanted": left.wanted + nodes})
        enter_demand(changes, back)
        changes.put(back)
    changes.put(cluster.model_copy(update={"gate": None}))
    changes.due[Due(DueKind.SUBMISSION, operation.operation_id)] = None
    changes.due[Due(DueKind.CLUSTER, cluster.cluster_id)] = max(now, cluster.not_before)
    waited_s = (now - operation.planned_at) // 1000
    changes.tell(next_step.event("operation_abandoned", operation, because=f"planned {waited_s} s ago"))
    return changes
