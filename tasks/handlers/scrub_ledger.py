"""Go through the ledger slowly: restore lost entries of indexes, and hold what has lost its record.

A key may be deleted by hand, or be missing from a copy. Nothing else notices: a cluster would stay locked.
"""

from collections.abc import Sequence

from config.timestamps import utc_second
from tasks.handlers.context import Context
from tasks.ledger.change_entries import Index, Listed
from tasks.ledger.change_set import ChangeSet, DueRule
from tasks.ledger.due import OUTBOX, Due, DueKind
from tasks.ledger.events import Event
from tasks.ledger.indexes import IndexEntry, of_operation, of_request
from tasks.ledger.record import Record
from tasks.ledger.record_scan import RecordScan
from tasks.ledger.records import Operation, Request
from tasks.state_machine.cluster_lock import lock_cluster
from tasks.state_machine.rebuilding import held_without_record

INTERVAL_MS = 5_000
KEYS_AT_ONCE = 500
MAX_MISSING = 10_000
# Further ahead than anything of the kind is scheduled: the quota's window, and a limit per day.
MAX_AHEAD_MS = {
    DueKind.ZONE: 2 * 3_600_000,
    DueKind.OPERATION: 2 * 3_600_000,
    DueKind.OUTBOX: 2 * 3_600_000,
    DueKind.SUBMISSION: 25 * 3_600_000,
    DueKind.CLUSTER: 25 * 3_600_000,
}


class Scrub:
    """Checks the next few hundred keys each time, for all workers of the ledger."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._scan = RecordScan(ctx.ledger)
        self._next_ms = 0
        self._missing: dict[str, tuple[list[int], int]] = {}

    async def step(self) -> None:
        """Check some records if none of the workers has just done so."""
        now = self._ctx.clock.now_ms()
        if now < self._next_ms:
            return
        self._next_ms = now + INTERVAL_MS
        if len(self._missing) > MAX_MISSING:
            self._missing.clear()
        names = await self._scan.next_ids(INTERVAL_MS, KEYS_AT_ONCE)
        if names is None:
            return
        request_ids, operation_ids = names
        await self._check_due()
        requests = await self._ctx.ledger.requests(request_ids, readable_only=True)
        for request in requests.values():
            await self._check_request(request)
        operations = await self._ctx.ledger.operations(operation_ids, readable_only=True)
        for operation in operations.values():
            if not operation.ended:
                await self._check_operation(operation)

    async def _check_due(self) -> None:
        """Restore due entries of no request or operation, and pull in those that are too far ahead.

        Entries are far ahead if workers wrote them by a server's clock that was set back later.
        """
        ledger, now = self._ctx.ledger, self._ctx.clock.now_ms()
        for due in [*await self._schedules(), *await self._pauses()]:
            entry = IndexEntry((ledger.keys.due(due.lane),), str(due), due)
            if not await self._scan.is_member(entry) and self._is_missing_again(entry, []):
                changes = ChangeSet()
                changes.schedule(due, now, DueRule.IF_ABSENT)
                await self._commit(changes, entry.places[0])
        if not await self._scan.is_member(IndexEntry((ledger.keys.due(OUTBOX.lane),), str(OUTBOX), OUTBOX)):
            await ledger.schedule_outbox(now)
        for kind, ahead_ms in MAX_AHEAD_MS.items():
            for due in await self._scan.due_after(kind, now + ahead_ms):
                changes = ChangeSet()
                changes.schedule(due, now, DueRule.NO_LATER)
                await self._commit(changes, f"{ledger.keys.due(due.lane)} {due}")

    async def _schedules(self) -> list[Due]:
        """Return the entries of the schedules that have another occurrence."""
        found = []
        for name in sorted(await self._ctx.ledger.schedule_names()):
            record = await self._ctx.ledger.schedule(name)
            if record is not None and not record.gone:
                handled = utc_second(record.last_handled)
                if next(record.schedule.occurrences(handled), None) is not None:
                    found.append(Due(DueKind.SCHEDULE, name))
        return found

    async def _pauses(self) -> list[Due]:
        """Return the entries of the pauses that lift by themselves."""
        ledger = self._ctx.ledger
        records = [await ledger.pause(scope) for scope in await ledger.overview.paused_scopes()]
        return [record.due for record in records if record.paused and record.until is not None]

    async def _check_request(self, request: Request) -> None:
        await self._restore(request, list(of_request(request, self._ctx.ledger.keys)))
        for part in request.live_assignments:
            if not await self._scan.exists(self._ctx.ledger.keys.operation(part.operation_id)):
                await self._rebuild(part.operation_id, request)

    async def _check_operation(self, operation: Operation) -> None:
        ledger, now = self._ctx.ledger, self._ctx.clock.now_ms()
        await self._restore(operation, list(of_operation(operation, ledger.keys, now)))
        cluster = await ledger.cluster(operation.cluster_id)
        if cluster.locked_by is None:
            changes = ChangeSet(expected=[operation])
            changes.write(lock_cluster(cluster, operation))
            await self._commit(changes, ledger.keys.cluster(operation.cluster_id))
        for request_id in operation.request_ids:
            key = ledger.keys.request(request_id)
            if not await self._scan.exists(key) and await self._scan.first_report(key):
                await self._report_loss(operation, key)

    async def _restore(self, record: Record, expected: list[IndexEntry]) -> None:
        """Write the entries that are missing, unless the record has moved on."""
        for entry in expected:
            if await self._scan.is_member(entry):
                continue
            changes = ChangeSet(expected=[record])
            if isinstance(entry.restore, Due) and entry.restore.kind is DueKind.CLUSTER:
                cluster = await self._ctx.ledger.cluster(entry.restore.name)
                if cluster.locked_by is not None:
                    # The step that releases the lock makes it due.
                    continue
                changes.expected.append(cluster)
            if not self._is_missing_again(entry, changes.expected):
                continue
            if isinstance(entry.restore, Due):
                changes.schedule(entry.restore, self._ctx.clock.now_ms(), DueRule.IF_ABSENT)
            else:
                changes.add(entry.restore)
            await self._commit(changes, entry.places[0])

    def _is_missing_again(self, entry: IndexEntry, records: Sequence[Record]) -> bool:
        """Return whether the entry was missing in an earlier check, and the records have not moved on since.

        One that is missing once may belong to a step that was being written just then.
        """
        name, versions = f"{entry.places[0]} {entry.member}", [record.version for record in records]
        before = self._missing.get(name)
        if (
            before is not None
            and before[0] == versions
            and self._ctx.clock.now_ms() - before[1] >= INTERVAL_MS
        ):
            del self._missing[name]
            return True
        if before is None or before[0] != versions:
            self._missing[name] = (versions, self._ctx.clock.now_ms())
        return False

    async def _commit(self, changes: ChangeSet, key: str) -> None:
        changes.record(Event("index_restored", "warning", fields={"key": key}, in_journal=True))
        # A conflict: the record has moved on, and with it what it must have.
        await self._ctx.ledger.commit(changes)

    async def _rebuild(self, operation_id: str, request: Request) -> None:
        """Hold an operation whose record is gone: what is left of it is in the requests that it serves."""
        ledger = self._ctx.ledger
        served = [
            one
            async for one in ledger.overview.open_records()
            if any(part.operation_id == operation_id for part in one.live_assignments)
        ]
        current = await ledger.request(request.request_id)
        if current is None or current.version != request.version or not served:
            return
        cluster = await ledger.cluster(request.valid_spec.cluster_id)
        now = self._ctx.clock.now_ms()
        operation, changes = held_without_record(operation_id, served, now)
        if cluster.locked_by in (None, operation_id):
            changes.write(lock_cluster(cluster, operation))
        changes.add(Listed(Index.HELD, operation_id, now))
        await ledger.mark_data_lost()
        await ledger.commit(changes)

    async def _report_loss(self, operation: Operation, key: str) -> None:
        await self._ctx.ledger.mark_data_lost()
        changes = ChangeSet()
        fields = {"key": key, "operation_id": operation.operation_id}
        changes.record(Event("record_missing", "error", fields=fields, in_journal=True))
        await self._ctx.ledger.commit(changes)
