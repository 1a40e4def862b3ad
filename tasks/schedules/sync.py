"""Puts the schedules of the policy file into the ledger, and takes out what the file has no more."""

from __future__ import annotations

from config.policy.file import PolicyFile
from config.policy.model import Schedule
from tasks.handlers.context import Machinery
from tasks.ledger.change_set import Changes, Event
from tasks.ledger.due import Due, DueKind
from tasks.ledger.schedules import ScheduleRecord
from tasks.schedules.last_handled import through_of


class ScheduleKeeper:
    """Does so once for each content that this process has read, so the file that was read last holds.

    A worker without a policy file leaves the schedules alone: it neither takes them out nor fires them.
    """

    def __init__(self, machinery: Machinery, policy: PolicyFile) -> None:
        self._m = machinery
        self._policy = policy
        self._kept: tuple[str, str] | None = None

    async def keep(self) -> None:
        """Costs nothing while file and ledger are the same as before."""
        policy, ledger = self._policy(), self._m.ledger
        if self._policy.path is None:
            return
        if not ledger.epoch.id:
            await ledger.commit(Changes())
        read = (self._policy.digest, ledger.epoch.id)
        if read == self._kept or ledger.epoch.lost:
            return
        await keep_schedules(self._m, policy.schedules, ledger.epoch.id)
        self._kept = read


async def keep_schedules(m: Machinery, schedules: tuple[Schedule, ...], epoch: str) -> None:
    for schedule in schedules:
        await _keep(m, schedule, epoch)
    names = {schedule.name for schedule in schedules}
    for name in sorted(await m.ledger.schedule_names() - names):
        await _remove(m, name)


async def _keep(m: Machinery, schedule: Schedule, epoch: str) -> None:
    due = Due(DueKind.SCHEDULE, schedule.name)

    async def build() -> Changes:
        record = await m.ledger.schedule(schedule.name)
        now = m.clock.now_ms()
        changes = Changes(sooner={due: now}, schedules={schedule.name: True})
        kept = kept_record(record, schedule, epoch, now)
        if kept == record:
            changes.checks.append(record)
            return changes
        changes.put(kept)
        new = record is None or record.gone
        if record is None or new or record.schedule != schedule:
            changes.tell(_event("schedule_added" if new else "schedule_changed", schedule))
        return changes

    await m.commit_current(build)


def kept_record(record: ScheduleRecord | None, schedule: Schedule, epoch: str, now: int) -> ScheduleRecord:
    """Pure: the record of a schedule that a file has; `record` is what the ledger has of it."""
    if record is None:
        through = through_of(None, 0, schedule, now)
        return ScheduleRecord(name=schedule.name, schedule=schedule, epoch=epoch, through=through)
    # What a ledger of before had not dealt with may have been dealt with by the one that was lost.
    before = None if record.gone or record.epoch != epoch else record.schedule
    through = through_of(before, record.through, schedule, now)
    return record.model_copy(update={"schedule": schedule, "epoch": epoch, "through": through, "gone": False})


async def _remove(m: Machinery, name: str) -> None:
    async def build() -> Changes | None:
        record = await m.ledger.schedule(name)
        changes = Changes(due={Due(DueKind.SCHEDULE, name): None}, schedules={name: False})
        if record is None or record.gone:
            return changes
        changes.put(record.model_copy(update={"gone": True}))
        changes.tell(_event("schedule_removed", record.schedule))
        return changes

    await m.commit_current(build)


def _event(name: str, schedule: Schedule) -> Event:
    fields = {
        "schedule": schedule.name,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "mode": schedule.mode,
        "cluster_id": schedule.cluster_id,
        "node_count": schedule.node_count,
    }
    return Event(name, fields=fields)
