"""What an operator may change: cancel, pause, resume, resolve. One transaction each, recorded with a name."""

from collections.abc import Sequence
from enum import Enum, auto

from config.timestamps import timestamp
from tasks.ledger.change_set import ChangeSet
from tasks.ledger.due import Due, DueKind
from tasks.ledger.events import Event
from tasks.ledger.ledger import Ledger
from tasks.ledger.pauses import EVERYTHING
from tasks.ledger.records import Operation
from tasks.state_machine import pauses, resolution
from tasks.state_machine.request_outcome import cancel_request
from tasks.state_machine.resolution import CannotResolve


class CancelResult(Enum):
    NOT_FOUND = auto()
    ENDED_BEFORE = auto()
    CANCELLED_BEFORE = auto()
    CANCELLED = auto()


async def cancel(ledger: Ledger, request_id: str, *, by: str, reason: str | None = None) -> CancelResult:
    """Cancel a request: it gets no further nodes. What was sent continues."""
    result = CancelResult.NOT_FOUND

    async def build() -> ChangeSet | None:
        nonlocal result
        request = await ledger.request(request_id)
        if request is None:
            result = CancelResult.NOT_FOUND
        elif request.ended:
            result = CancelResult.ENDED_BEFORE
        elif request.cancelled:
            result = CancelResult.CANCELLED_BEFORE
        else:
            result, changes = CancelResult.CANCELLED, ChangeSet()
            cancel_request(changes, request, ledger.clock.now_ms(), by=by, reason=reason)
            return changes
        return None

    await ledger.transact(build)
    return result


async def pause(
    ledger: Ledger, cluster_id: str | None, *, by: str, reason: str | None, lasting_s: float | None
) -> None:
    """Pause submissions.

    Args:
        cluster_id: of this cluster; None pauses everything.
        lasting_s: seconds until it ends; None until it is resumed.
    """

    async def build() -> ChangeSet:
        record, now = await ledger.pause(cluster_id or EVERYTHING), ledger.clock.now_ms()
        until = None if lasting_s is None else now + round(lasting_s * 1000)
        return pauses.pause(record, by=by, reason=reason, until=until, now=now)

    await ledger.transact(build)


async def resume(ledger: Ledger, cluster_id: str | None, *, by: str) -> bool:
    """Lift the pause of a cluster, or of everything; close the cluster's open circuit breakers.

    Returns False if there was nothing to lift.
    """

    async def build() -> ChangeSet | None:
        record = await ledger.pause(cluster_id or EVERYTHING)
        cluster = None if cluster_id is None else await ledger.cluster(cluster_id)
        return pauses.resume(record, cluster, by=by, now=ledger.clock.now_ms())

    return await ledger.transact(build) is not None


async def resolve(
    ledger: Ledger,
    operation_id: str,
    *,
    adopt_job: str | None,
    by: str,
    reason: str | None,
    checked: Operation | None = None,
    overruled: Sequence[str] = (),
) -> None:
    """Decide about an operation that was sent and has not ended; most often it is held.

    Args:
        adopt_job: the job that it became; None: the provider never executed it.
        checked: the operation as it was when the provider's log was compared with the decision.
        overruled: what the log says against it, as sentences for the history.

    Raises:
        CannotResolve: the decision does not fit what is known.
    """

    async def build() -> ChangeSet:
        snapshot = await ledger.operation_snapshot(operation_id)
        if snapshot is None:
            raise CannotResolve(f"operation {operation_id} is gone")
        if checked is not None:
            resolution.demand_unmoved(snapshot.operation, checked)
        now = ledger.clock.now_ms()
        if adopt_job is None:
            return resolution.not_executed(snapshot, by=by, reason=reason, now=now, overruled=overruled)
        owners = await ledger.job_owners(snapshot.operation.cluster_id, [adopt_job])
        return resolution.adopt(
            snapshot,
            owners.get(adopt_job),
            job_id=adopt_job,
            by=by,
            reason=reason,
            now=now,
            overruled=overruled,
        )

    await ledger.transact(build)


async def acknowledge_data_loss(ledger: Ledger, *, by: str, reason: str | None) -> None:
    """Accept the ledger as it is, though data is missing from it: calls are sent again from now on."""
    await ledger.acknowledge_data_loss()
    changes = ChangeSet()
    fields = {"by": by, "reason": reason}
    changes.record(Event("ledger_data_loss_acknowledged", "warning", fields=fields, in_journal=True))
    await ledger.commit(changes)


async def extend_deadlines(
    ledger: Ledger, cluster_id: str | None, *, by_s: float, by: str, reason: str | None
) -> int:
    """Give requests that have not ended more time, for example as long as a pause.

    Args:
        cluster_id: of this cluster; None for all.
        by_s: seconds.

    Returns how many there were.
    """
    extended = 0
    async for request in ledger.overview.open_records():
        if request.spec is not None and cluster_id in (None, request.spec.cluster_id):
            extended += await _extend(ledger, request.request_id, round(by_s * 1000), by, reason)
    return extended


async def _extend(ledger: Ledger, request_id: str, by_ms: int, by: str, reason: str | None) -> bool:
    async def build() -> ChangeSet | None:
        request = await ledger.request(request_id)
        if request is None or request.ended:
            return None
        longer = request.model_copy(update={"deadline_at": request.deadline_at + by_ms})
        changes = ChangeSet()
        changes.write(longer)
        changes.schedule(Due(DueKind.REQUEST, request_id), longer.deadline_at)
        fields = {"by": by, "reason": reason, "deadline_at": timestamp(longer.deadline_at)}
        changes.record(Event("deadline_extended", requests=(request_id,), fields=fields))
        return changes

    return await ledger.transact(build) is not None
