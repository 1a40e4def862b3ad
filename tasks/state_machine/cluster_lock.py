"""PURE: the cluster lock. At most one operation changes a cluster at a time. Times in ms."""

from tasks.ledger.change_entries import Index, Listed
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.records import Cluster, Operation


def lock_cluster(cluster: Cluster, operation: Operation) -> Cluster:
    """Return the cluster locked by an operation that is being planned."""
    name = operation.operation_id
    return cluster.model_copy(update={"locked_by": name, "last_operation": name})


def release_cluster(
    changes: ChangeSet, operation: Operation, cluster: Cluster, now: int, **update: object
) -> None:
    """Release the lock of an operation that ends: the cluster is planned again once it may be.

    Args:
        operation: as it was before it ended.
        update: further fields of the cluster that change in this step, such as `not_before`.
    """
    released = cluster.model_copy(update={"locked_by": None, **update})
    changes.write(released)
    changes.schedule(operation.due, None)
    changes.add(Listed(Index.HELD, operation.operation_id, None))
    changes.wake_cluster(cluster.cluster_id, max(now, released.not_before))
