"""Go through the ledger slowly: restore lost entries of indexes, and hold what has lost its record.

A key may be deleted by hand, or be missing from a copy. Nothing else notices: a cluster would stay locked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from config.timestamps import utc_second
from tasks.handlers.context import Context
from tasks.handlers.first_looks import LOOKS_APART_MS, FirstLooks
from tasks.ledger.change_entries import Index, Listed
from tasks.ledger.change_set import ChangeSet, DueRule
from tasks.ledger.due import OUTBOX, Due, DueKind
from tasks.ledger.ended_index import EndedIndexRepair
from tasks.ledger.events import Event
from tasks.ledger.indexes import IndexEntry, of_due, of_operation, of_request
from tasks.ledger.record import Record
from tasks.ledger.record_scan import RecordScan
from tasks.ledger.records import Cluster, Operation, Request
from tasks.state_machine.cluster_lock import lock_cluster
from tasks.state_machine.rebuilding import held_without_record

KEYS_AT_ONCE = 1_500
# Further ahead than anything of the kind is scheduled: the quota's window, and a limit per day.
MAX_AHEAD_MS = {
    DueKind.ZONE: 2 * 3_600_000,
    DueKind.OPERATION: 2 * 3_600_000,
    DueKind.OUTBOX: 2 * 3_600_000,
    DueKind.SUBMISSION: 25 * 3_600_000,
    DueKind.CLUSTER: 25 * 3_600_000,
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the ledger is checked, in ms.

    Fields:
        interval_ms: from one step to the next.
        open_record_ms: the same for each record that has not ended, which takes some three commands.
        due_ms: from one check of due entries without a record to the next.
    """

    interval_ms: int = 15_000
    open_record_ms: int = 4_000
    due_ms: int = 60_000


class Scrub:
    """Checks the next keys each time, for all workers of the ledger.

    What has ended costs nothing but the first time. With many open records a pass takes longer, instead of
    keeping idle workers busy.
    """

    def __init__(self, ctx: Context, pace: Pace = Pace()) -> None:
        self._ctx = ctx
        self._pace = pace
        self._scan = RecordScan(ctx.ledger)
        self._ended_indexes = EndedIndexRepair(ctx.ledger)
        self._first_looks = FirstLooks(ctx.clock)
        self._next_ms = self._next_due_check_ms = 0

    async def step(self) -> None:
        """Check again what was missing, and the next records if none of the workers has just done so."""
        now = self._ctx.clock.monotonic_ms()
        if now < self._next_ms:
            return
        self._next_ms = now + self._pace.interval_ms
        await self._look_again()
        await self._check_next(now)
        if self._first_looks.any_doubtful:
            # No other worker knows of it, and where there are many, this one has the next turn late.
            self._next_ms = self._ctx.clock.monotonic_ms() + min(LOOKS_APART_MS, self._pace.interval_ms)

    async def _look_again(self) -> None:
        again = self._first_looks.take()
        if not again:
            return
        requests = [record.request_id for record in again if isinstance(record, Request)]
        operations = [record.operation_id for record in again if isinstance(record, Operation)]
        if None in again:
            await self._check_due()
        await self._check_requests(requests)
        await self._check_operations(operations)

    async def _check_next(self, now: int) -> None:
        names = await self._scan.next_ids(self._pace.interval_ms, KEYS_AT_ONCE)
        if names is None:
            return
        request_ids, operation_ids = names
        if now >= self._next_due_check_ms:
            self._next_due_check_ms = now + self._pace.due_ms
            await self._check_due()
        live = await self._check_requests(request_ids) + await self._check_operations(operation_ids)
        if live * self._pace.open_record_ms > self._pace.interval_ms:
            await self._scan.wait(live * self._pace.open_record_ms)
        await self._ended_indexes.step()

    async def _check_due(self) -> None:
        """Restore due entries of no request or operation, and pull in those that are too far ahead.

        Entries are far ahead if workers wrote them by a server's clock that was set back later.
        """
        ledger, now = self._ctx.ledger, self._ctx.clock.now_ms()
        wanted = [*await self._schedules(), *await self._pauses()]
        await self._restore([(None, of_due(due, ledger.keys)) for due in wanted])
        if await self._scan.missing([of_due(OUTBOX, ledger.keys)]) == [True]:
            await ledger.schedule_outbox(now)
        for kind, ahead_ms in MAX_AHEAD_MS.items():
            for due in await self._scan.due_after(kind, now + ahead_ms):
                wanted_then = self._waits_until(due, now + ahead_ms)
                if await ledger.unless_unreadable(wanted_then):
                    continue
                changes = ChangeSet()
                changes.schedule(due, now, DueRule.NO_LATER)
                await self._commit(changes, f"{ledger.keys.due(due.lane)} {due}")

    async def _waits_until(self, due: Due, later: int) -> bool:
        """Return whether producers want all that waits on a cluster after `later` (ms) only."""
        if due.kind is not DueKind.CLUSTER:
            return False
        begin = [request.not_before async for request in self._ctx.ledger.overview.waiting(due.name)]
        return bool(begin) and min(begin) > later

    async def _schedules(self) -> list[Due]:
        """Return the entries of the schedules that have another occurrence."""
        ledger, found = self._ctx.ledger, []
        for name in sorted(await ledger.schedule_names()):
            record = await ledger.unless_unreadable(ledger.schedule(name))
            if record is not None and not record.gone:
                handled = utc_second(record.last_handled)
                if next(record.schedule.occurrences(handled), None) is not None:
                    found.append(Due(DueKind.SCHEDULE, name))
        return found

    async def _pauses(self) -> list[Due]:
        """Return the entries of the pauses that lift by themselves."""
        ledger, found = self._ctx.ledger, []
        for scope in await ledger.overview.paused_scopes():
            record = await ledger.unless_unreadable(ledger.pause(scope))
            if record is not None and record.paused and record.until is not None:
                found.append(record.due)
        return found

    async def _check_requests(self, request_ids: Sequence[str]) -> int:
        """Return how many of them may still change."""
        ledger, now = self._ctx.ledger, self._ctx.clock.now_ms()
        known = (await ledger.requests(request_ids, readable_only=True)).values() if request_ids else ()
        settled = [request for request in known if request.ended and not request.live_assignments]
        await self._scan.note_settled(settled)
        requests = [request for request in known if not request.ended or request.live_assignments]
        await self._restore(
            [(request, entry) for request in requests for entry in of_request(request, ledger.keys, now)]
        )
        served_by = {part.operation_id: request for request in requests for part in request.live_assignments}
        gone = await self._scan.absent([ledger.keys.operation(name) for name in served_by])
        for operation_id, request in served_by.items():
            if ledger.keys.operation(operation_id) in gone:
                await ledger.unless_unreadable(self._rebuild(operation_id, request))
        return len(requests)

    async def _check_operations(self, operation_ids: Sequence[str]) -> int:
        """Return how many of them may still change."""
        ledger, now = self._ctx.ledger, self._ctx.clock.now_ms()
        known = await ledger.operations(operation_ids, readable_only=True) if operation_ids else {}
        await self._scan.note_settled([operation for operation in known.values() if operation.ended])
        running = [name for name, operation in known.items() if not operation.ended]
        live = await ledger.operation_snapshots(running) if running else {}
        await self._restore(
            [
                (snapshot.operation, entry)
                for snapshot in live.values()
                for entry in of_operation(snapshot.operation, ledger.keys, now)
            ]
        )
        for snapshot in live.values():
            operation = snapshot.operation
            if snapshot.cluster.locked_by is None and not operation.ended:
                changes = ChangeSet(expected=[operation])
                changes.write(lock_cluster(snapshot.cluster, operation))
                await self._commit(changes, ledger.keys.cluster(operation.cluster_id))
            for request_id in set(operation.request_ids) - snapshot.requests.keys():
                await self._report_loss(operation, ledger.keys.request(request_id))
        return len(running)

    async def _restore(self, expected: Sequence[tuple[Record | None, IndexEntry]]) -> None:
        """Write the entries that are missing, each unless its record has moved on."""
        read_at = self._ctx.clock.monotonic_ms()
        missing = await self._scan.missing([entry for _, entry in expected])
        restored: set[tuple[str, str]] = set()
        for (record, entry), is_missing in zip(expected, missing, strict=True):
            place = (entry.places[0], entry.member)
            if is_missing and place not in restored:
                done = self._restore_one(record, entry, read_at)
                if await self._ctx.ledger.unless_unreadable(done):
                    restored.add(place)

    async def _restore_one(self, record: Record | None, entry: IndexEntry, read_at: int) -> bool:
        changes = ChangeSet(expected=[] if record is None else [record])
        if isinstance(entry.restore, Due) and entry.restore.kind is DueKind.CLUSTER:
            cluster = await self._ctx.ledger.cluster(entry.restore.name)
            if cluster.locked_by is not None:
                # The step that releases the lock makes it due.
                await self._check_lock(cluster, cluster.locked_by)
                return False
            changes.expected.append(cluster)
        if not self._first_looks.confirm(entry, changes.expected, read_at):
            return False
        entry.stage(changes, self._ctx.clock.now_ms())
        await self._commit(changes, entry.places[0])
        return True

    async def _check_lock(self, cluster: Cluster, operation_id: str) -> None:
        """Release a lock whose operation no record knows: nobody would ever do it, and data is missing."""
        ledger, now = self._ctx.ledger, self._ctx.clock.now_ms()
        if await ledger.operation(operation_id) is not None:
            return
        async for request in ledger.overview.open_records():
            if any(part.operation_id == operation_id for part in request.live_assignments):
                # It is rebuilt from this one, and held.
                return
        await ledger.mark_data_lost()
        changes = ChangeSet()
        changes.write(cluster.model_copy(update={"locked_by": None}))
        changes.schedule(cluster.due, now)
        fields = {"key": ledger.keys.operation(operation_id), "cluster_id": cluster.cluster_id}
        changes.record(Event("record_missing", "error", fields=fields, in_journal=True))
        await ledger.commit(changes)

    async def _commit(self, changes: ChangeSet, key: str) -> None:
        changes.record(Event("index_restored", "warning", fields={"key": key}, in_journal=True))
        # A conflict: the record has moved on, and with it what it must have.
        await self._ctx.ledger.commit(changes)

    async def _rebuild(self, operation_id: str, request: Request) -> None:
        """Hold an operation whose record is gone: what is left of it is in the requests that it serves."""
        ledger, now = self._ctx.ledger, self._ctx.clock.now_ms()
        served = {
            one.request_id: one
            async for one in ledger.overview.open_records()
            if any(part.operation_id == operation_id for part in one.live_assignments)
        }
        # It may have ended at its deadline, and is not open then.
        served.setdefault(request.request_id, request)
        cluster = await ledger.cluster(request.valid_spec.cluster_id)
        operation, changes = held_without_record(operation_id, list(served.values()), now)
        if cluster.locked_by in (None, operation_id):
            changes.write(lock_cluster(cluster, operation))
        changes.add(Listed(Index.HELD, operation_id, now))
        await ledger.mark_data_lost()
        # A conflict: a request has moved on, or another worker was first; the next check sees that.
        await ledger.commit(changes)

    async def _report_loss(self, operation: Operation, key: str) -> None:
        if await self._scan.was_reported(key):
            return
        await self._ctx.ledger.mark_data_lost()
        changes = ChangeSet()
        fields = {"key": key, "operation_id": operation.operation_id}
        changes.record(Event("record_missing", "error", fields=fields, in_journal=True))
        await self._ctx.ledger.commit(changes)
        # Last: a worker that dies before has reported nothing, or reports it twice.
        await self._scan.note_report(key)
