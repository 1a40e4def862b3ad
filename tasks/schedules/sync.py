"""Write schedules and webhooks of the policy file to the ledger, and remove those that it no longer has."""

from config.policy.file import PolicyFile
from config.policy.model import Schedule
from tasks.handlers.context import Context
from tasks.ledger.change_entries import ScheduleInForce
from tasks.ledger.change_set import ChangeSet, DueRule
from tasks.ledger.due import Due, DueKind
from tasks.ledger.events import Event
from tasks.ledger.schedules import ScheduleRecord
from tasks.schedules.timetable import last_handled_after
from tasks.webhooks.sync import sync_webhooks


class ScheduleSync:
    """Runs once for each content that this process has read, so the file that was read last counts.

    A worker without a policy file leaves the schedules alone: it neither removes nor fires them.
    """

    def __init__(self, ctx: Context, policy: PolicyFile) -> None:
        self._ctx = ctx
        self.policy_file = policy
        self._synced: tuple[str, str] | None = None

    async def sync(self) -> None:
        """Sync if the file or the ledger has changed; otherwise this costs nothing."""
        policy, ledger = self.policy_file(), self._ctx.ledger
        if self.policy_file.path is None:
            return
        if not ledger.epoch.id:
            await ledger.commit(ChangeSet())
        read = (self.policy_file.digest, ledger.epoch.id)
        if read == self._synced or ledger.epoch.lost:
            return
        await sync_schedules(self._ctx, policy.schedules, ledger.epoch.id)
        await sync_webhooks(ledger, policy.webhooks)
        self._synced = read


async def sync_schedules(ctx: Context, schedules: tuple[Schedule, ...], epoch: str) -> None:
    names = {schedule.name for schedule in schedules}
    gone = sorted(await ctx.ledger.schedule_names() - names)
    for schedule in schedules:
        await ctx.ledger.unless_unreadable(_put(ctx, schedule, epoch))
    for name in gone:
        await ctx.ledger.unless_unreadable(_remove(ctx, name))


async def _put(ctx: Context, schedule: Schedule, epoch: str) -> None:
    async def build() -> ChangeSet:
        record = await ctx.ledger.schedule(schedule.name)
        now = ctx.clock.now_ms()
        changes = ChangeSet()
        changes.schedule(Due(DueKind.SCHEDULE, schedule.name), now, DueRule.NO_LATER)
        changes.add(ScheduleInForce(schedule.name, True))
        updated = updated_record(record, schedule, epoch, now)
        if updated == record:
            changes.expected.append(record)
            return changes
        changes.write(updated)
        new = record is None or record.gone
        if record is None or new or record.schedule != schedule:
            changes.record(_event("schedule_added" if new else "schedule_changed", schedule))
        return changes

    await ctx.ledger.transact(build)


def updated_record(record: ScheduleRecord | None, schedule: Schedule, epoch: str, now: int) -> ScheduleRecord:
    """Return the record of a schedule that a file has; `record` is what the ledger has of it."""
    if record is None:
        last_handled = last_handled_after(None, 0, schedule, now)
        return ScheduleRecord(name=schedule.name, schedule=schedule, epoch=epoch, last_handled=last_handled)
    # What an earlier ledger had not handled may have been handled in what it lost.
    before = None if record.gone or record.epoch != epoch else record.schedule
    last_handled = last_handled_after(before, record.last_handled, schedule, now)
    update = {"schedule": schedule, "epoch": epoch, "last_handled": last_handled, "gone": False}
    return record.model_copy(update=update)


async def _remove(ctx: Context, name: str) -> None:
    async def build() -> ChangeSet:
        record = await ctx.ledger.schedule(name)
        changes = ChangeSet()
        changes.schedule(Due(DueKind.SCHEDULE, name), None)
        changes.add(ScheduleInForce(name, False))
        if record is not None and not record.gone:
            changes.write(record.model_copy(update={"gone": True}))
            changes.record(_event("schedule_removed", record.schedule))
        return changes

    await ctx.ledger.transact(build)


def _event(name: str, schedule: Schedule) -> Event:
    fields = ("cron", "timezone", "mode", "cluster_id", "node_count")
    about = {field: getattr(schedule, field) for field in fields}
    return Event(name, fields={"schedule": schedule.name, **about})
