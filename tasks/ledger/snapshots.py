"""An operation, or a cluster's demand, with the records that its steps read and write. Times in ms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.ledger.change_set import ChangeSet
from tasks.ledger.pauses import Pauses
from tasks.ledger.records import Account, Arrivals, Cluster, Operation, Request

OVERDUE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class OperationSnapshot:
    """An operation and its records as they were read, or as this process last wrote them.

    It may be out of date at any time: a decision made from it is written only if every record still is at
    the version it has here.
    """

    operation: Operation
    requests: Mapping[str, Request]
    cluster: Cluster
    account: Account
    pauses: Pauses

    def after(self, changes: ChangeSet) -> OperationSnapshot:
        """Return the snapshot once `changes` are written."""
        return OperationSnapshot(
            changes.written(self.operation),
            {name: changes.written(request) for name, request in self.requests.items()},
            changes.written(self.cluster),
            changes.written(self.account),
            self.pauses,
        )

    @property
    def served(self) -> list[Request]:
        """The requests that the operation serves, in order."""
        names = self.operation.request_ids
        return [self.requests[name] for name in names if name in self.requests]

    def has_time_left(self, now: int) -> bool:
        """Return whether the deadline of any of its requests is still ahead."""
        return any(request.deadline_at > now for request in self.served)

    def is_overdue(self, now: int) -> bool:
        """Return whether all deadlines passed so long ago that an operator has to decide."""
        return not self.has_time_left(now - OVERDUE_MS)


@dataclass(frozen=True, slots=True)
class WaitingSnapshot:
    """What a request that waits depends on.

    Fields:
        locking: the operation that locks the cluster; None if there is none, or it cannot be read.
        suspended_until: when there are API calls for new operations again; None if there are now.
        last_tick: of any worker; None if none has ticked for a day.
    """

    cluster: Cluster
    account: Account
    pauses: Pauses
    locking: Operation | None
    suspended_until: int | None
    last_tick: int | None


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """What planning a cluster reads.

    Fields:
        waiting: each pool's first requests, in order of arrival.
        arrivals: moves on when a request arrives.
        partly_read: pools with a request among these that this version cannot read. Others may.
        has_more: whether other pools wait, which were not read.
    """

    cluster: Cluster
    account: Account
    pauses: Pauses
    waiting: Mapping[str, Sequence[Request]]
    arrivals: Arrivals
    partly_read: frozenset[str] = frozenset()
    has_more: bool = False

    def waits_until(self) -> int:
        """Return before when (ms) nothing of the cluster is sent, whatever waits."""
        return max(self.cluster.not_before, self.account.not_before)

    def snapshot_of(self, operation: Operation) -> OperationSnapshot:
        """Return the snapshot of an operation that has just been planned from this one."""
        by_id = {request.request_id: request for pool in self.waiting.values() for request in pool}
        requests = {name: by_id[name] for name in operation.request_ids}
        return OperationSnapshot(operation, requests, self.cluster, self.account, self.pauses)
