"""An operation, or a cluster's demand, together with the records that its steps read and write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.ledger.change_set import Changes
from tasks.ledger.pauses import Pauses
from tasks.ledger.records import Account, Cluster, Operation, Request


@dataclass(frozen=True, slots=True)
class Scene:
    """As it was read, or as it is known to be since this process wrote it.

    It may be out of date at any time: whatever is decided from it is written only if every record still is
    at the version it has here.
    """

    operation: Operation
    requests: Mapping[str, Request]
    cluster: Cluster
    account: Account
    pauses: Pauses

    def after(self, changes: Changes) -> Scene:
        """The scene once `changes` are written."""
        return Scene(
            changes.written(self.operation),
            {name: changes.written(request) for name, request in self.requests.items()},
            changes.written(self.cluster),
            changes.written(self.account),
            self.pauses,
        )

    @property
    def served(self) -> list[Request]:
        """The requests that the operation serves, in their order."""
        names = self.operation.request_ids
        return [self.requests[name] for name in names if name in self.requests]

    def is_waited_for(self, now: int) -> bool:
        """Whether any of its requests still has time; `now` in ms."""
        return any(request.deadline_at > now for request in self.served)


@dataclass(frozen=True, slots=True)
class Demand:
    """What planning a cluster looks at. `waiting`: each pool's first requests, in order of arrival."""

    cluster: Cluster
    account: Account
    pauses: Pauses
    waiting: Mapping[str, Sequence[Request]]

    def scene_of(self, operation: Operation) -> Scene:
        """The scene of an operation that has just been planned from this."""
        asking = {request.request_id: request for pool in self.waiting.values() for request in pool}
        requests = {name: asking[name] for name in operation.request_ids}
        return Scene(operation, requests, self.cluster, self.account, self.pauses)
