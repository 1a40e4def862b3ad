"""The durable record of requests and operations, in Redis: one typed method for each script."""

import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import structlog
from redis.asyncio import Redis

from config.timestamps import timestamp
from tasks.ledger.change_entries import CALLER_KEPT_S
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.commit_encoding import TELL_AFTER_MS, CommitEncoding, tell_at
from tasks.ledger.due import OUTBOX, Due, DueKind, Lane
from tasks.ledger.epoch import Epoch
from tasks.ledger.event_log import log_events
from tasks.ledger.events import Event
from tasks.ledger.identity import DAY_MS, LedgerIdentity
from tasks.ledger.keys import Keys
from tasks.ledger.migrations import UnreadableRecord
from tasks.ledger.outcome_entries import ANSWER, Retention
from tasks.ledger.overview import Overview
from tasks.ledger.reads import LUA, RECENTLY_MS, parsed_object
from tasks.ledger.record_values import MAX_CLOCK_STEP_MS
from tasks.ledger.traced_ends import trace_ends
from tasks.limits.usage import Usage, UsageCounter
from tasks.runtime import tracing
from tasks.runtime.auto_pipeline import AutoPipelineRedis
from tasks.runtime.clock import MAX_STEP_MS, Clock
from tasks.runtime.process_metrics import OPERATION_DURATION, STEPS
from tasks.runtime.redis_client import Script

log = structlog.get_logger(__name__)

REMEMBER_CALLS_MS = 600_000
MAX_LEAVING = 100
REPLICAS_TIMEOUT_MS = 1_000
MAX_CONFLICTS = 50
LOOK_EVERY_MS = 8_000  # less than CLOCK_KNOWN_MS: a look notes the clock
CONTINUES_MS = 60_000  # after the last look: a clock that is further ahead does not pass for right
TRUSTED_AFTER_MS = 600_000
WINDOW = re.compile(r"(\d+):(\d+)")


class WriteConflict(RuntimeError):  # noqa: N818 - named by what happened
    """A step met a conflict again and again; nothing was written, and its due entry brings it up again."""


class DataLost(RuntimeError):  # noqa: N818 - named by what happened
    """The ledger has lost data and refuses each step that sends a call; nothing was written."""


class ServerChanged(RuntimeError):  # noqa: N818 - named by what happened
    """The server has just been restarted or replaced and refuses each step that sends a call."""


@dataclass(frozen=True, slots=True)
class ServerChange:
    """The server was restarted or replaced; times in ms.

    Fields:
        at: when a worker noticed.
        since: the last tick that the server's history has: what is missing from it, if anything, is later.
        earlier: the same two, the other way round, of each change in the day before.
    """

    at: int
    since: int
    earlier: tuple[tuple[int, int], ...] = ()

    @property
    def windows(self) -> tuple[tuple[int, int], ...]:
        """From when to when something may be missing (ms)."""
        return (*self.earlier, (self.since, self.at))


class Lookup(StrEnum):
    """What the ledger knows of a request."""

    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    WAITING = "WAITING"
    ENDED = "ENDED"


class Ledger(LedgerIdentity):
    """All writes of the ledger; `LedgerReads` and `Overview` read what it holds.

    Args:
        outcome_ttl_s: how long ended requests, their operations and outcomes are kept, in seconds.
        stream_maxlen: about how many entries the outcome stream keeps.

    Fields:
        settle_ms: how long nothing is sent after the server was restarted or replaced.
        server_change: the last time that this happened, as far as this process knows.
    """

    def __init__(
        self, redis: Redis, keys: Keys, clock: Clock, *, outcome_ttl_s: int, stream_maxlen: int
    ) -> None:
        super().__init__(redis, keys, clock)
        self.overview = Overview(self)
        self._retention = Retention(outcome_ttl_s, stream_maxlen)
        self._commit = Script(redis, LUA / "commit.lua")
        self._claim = Script(redis, LUA / "claim_due.lua")
        self._subscribe = Script(redis, LUA / "subscribe.lua")
        self._request_sweep = Script(redis, LUA / "request_sweep.lua")
        self._idle = Script(redis, LUA / "idle.lua")
        self._usage = Script(redis, LUA / "usage.lua")
        self._schedule_outbox = Script(redis, LUA / "schedule_outbox.lua")
        self._progress_told = Script(redis, LUA / "progress_told.lua")
        self.epoch = Epoch()
        self.settle_ms = 0
        self._time_is_proven = True
        self.server_change: ServerChange | None = None
        self._next_due_ms: dict[Lane, int] = {}
        self._seen: tuple[Any, ...] | None = None
        self._look_at_ms = 0
        self.on_due: Callable[[Lane, int], None] | None = None

    @property
    def ended_ttl_s(self) -> int:
        """How long an ended request is known, in seconds."""
        return self._retention.records_ttl_s

    def ended_kept_from(self) -> int:
        """Return from when (ms) on ended requests are known for certain."""
        return self.clock.now_ms() - self.ended_ttl_s * 1000

    async def learn_time(self) -> None:
        """Read the server's time; needed once, before anything that uses the clock.

        Workers that run know whether the server's clock has stepped: their time counts. Long after the last
        tick of any, a clock that is ahead looks like one that is right.
        """
        noted = await self.noted_time()
        server_ms = await self.server_ms()
        if noted is not None and noted.knows_better(server_ms):
            self.clock.observe(server_ms + noted.ahead_ms)
        self.clock.observe(server_ms)
        for _ in range(2):
            # The first answer may have taken long.
            self.clock.observe(await self.server_ms())
        known_ms = await self._newest_request_ms() if noted is None else noted.worker_ms
        continues = known_ms is None or -MAX_STEP_MS <= self.clock.now_ms() - known_ms <= CONTINUES_MS
        self._time_is_proven = continues and (noted is None or noted.is_proven)

    async def _newest_request_ms(self) -> int | None:
        """Return when the newest open request was accepted (ms): all that tells the time at first."""
        newest = await self.redis.zrange(self.keys.index("open"), -1, -1, withscores=True)
        return int(newest[0][1]) if newest else None

    @property
    def time_is_proven(self) -> bool:
        """Whether this process need not doubt its time.

        Workers had it until just now, or the provider agrees, or could not be asked for ten minutes.
        """
        return self._time_is_proven or self.clock.steady_ms() >= TRUSTED_AFTER_MS

    def prove_time(self) -> None:
        """Note that the provider agrees with this process's time."""
        self._time_is_proven = True

    async def server_ms(self) -> int:
        """Return the Redis server's time in ms."""
        seconds, micros = await self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def commit(self, changes: ChangeSet) -> CommitResult:
        """Apply `changes`, all or nothing, and log their events once they are written.

        Returns:
            CONFLICT if a record has moved on since it was read, OVER_LIMIT if a limit check failed. If
            `changes` send: DATA_LOST if data is missing here, SERVER_CHANGED if that is not known yet.
        """
        encoding = CommitEncoding(self.keys, self.clock.now_ms(), self._retention)
        keys, step = encoding.encode(changes)
        call_id = uuid.uuid4().hex
        args = [self.clock.now_ms(), call_id, REMEMBER_CALLS_MS, step]
        epoch = self.epoch
        known = [epoch.id, epoch.count, uuid.uuid4().hex, int(changes.sends), epoch.step, self.settle_ms]
        known.append(int(self.time_is_proven))
        word, _, name, count, lost = await self._commit(keys, [*args, *known])
        epoch.observe(name, count, lost, call_id if word == CommitResult.OK.name else "")
        for lane, at in changes.soonest_due().items():
            self._expect(lane, at)
            self._announce(lane, at)
        if changes.open_requests:
            self._announce(
                OUTBOX.lane, min(tell_at(one, self.clock.now_ms()) for one in changes.open_requests)
            )
        result = CommitResult[word]
        STEPS.labels(result.name.lower()).inc()
        if result is CommitResult.OK:
            if tracing.is_on():
                trace_ends(changes)
            log_events(changes.events)
            for duration in changes.durations:
                OPERATION_DURATION.labels("succeeded" if duration.ok else "failed").observe(
                    duration.ms / 1000
                )
        return result

    async def move_on(self) -> None:
        """Move the count of steps, by which ticks notice what was scheduled without one."""
        await self.commit(ChangeSet())

    async def record(self, event: Event) -> None:
        """Write an event that belongs to no other step, and log it."""
        changes = ChangeSet()
        changes.record(event)
        await self.commit(changes)

    async def transact(self, build: Callable[[], Awaitable[ChangeSet | None]]) -> ChangeSet | None:
        """Read, decide and commit, again after each conflict.

        Args:
            build: reads what it needs and returns the step; None if there is nothing to change.

        Returns:
            The change set that was written, or None.

        Raises:
            WriteConflict: after MAX_CONFLICTS conflicts in a row.
            DataLost: the step sends and the ledger has lost data.
            ServerChanged: the step sends, and the server has just been restarted or replaced.
        """
        for _ in range(MAX_CONFLICTS):
            changes = await build()
            if changes is None:
                return None
            match await self.commit(changes):
                case CommitResult.OK:
                    return changes
                case CommitResult.DATA_LOST:
                    raise DataLost("data is missing from the ledger: see scaleout doctor")
                case CommitResult.SERVER_CHANGED:
                    raise ServerChanged("the Redis server has just been restarted or replaced: try again")
        raise WriteConflict(f"a step met a conflict {MAX_CONFLICTS} times in a row")

    async def is_on_master(self) -> bool:
        """Return whether the server that is used is the master; it is left if sentinels name another."""
        return await self.redis.is_on_master() if isinstance(self.redis, AutoPipelineRedis) else True

    async def replicas_in_step(self, wanted: int) -> int:
        """Return how many replicas have all that was written so far, after waiting a second for `wanted`."""
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.set(self.keys.replicated, self.clock.now_ms(), ex=DAY_MS // 1000)
            pipe.execute_command("WAIT", wanted, REPLICAS_TIMEOUT_MS)
            _, replicas = await pipe.execute()
        return int(replicas)

    async def claim_due(self, lane: Lane, limit: int, lease_s: float) -> list[Due]:
        """Claim at most `limit` due entries, leased to the caller for `lease_s` seconds."""
        # What is written while the answer is on its way has to be claimed all the same.
        self._next_due_ms.pop(lane, None)
        names = self.keys
        keys = [names.due(lane), names.call_times, names.call_results, names.suspended(lane)]
        args = [self.clock.now_ms(), uuid.uuid4().hex, REMEMBER_CALLS_MS, limit, round(lease_s * 1000)]
        _, next_due, *entries = await self._claim(keys, args)
        if int(next_due) >= 0:
            self._expect(lane, int(next_due))
        return await self._known_kinds(lane, entries)

    async def _known_kinds(self, lane: Lane, entries: Sequence[str]) -> list[Due]:
        """Return the entries of kinds that this version knows; the lease brings the others up for another."""
        found = []
        for entry in entries:
            try:
                found.append(Due.parse(entry))
            except ValueError:
                await self.report_unreadable(
                    UnreadableRecord(f"{self.keys.due(lane)} {entry}", "unknown kind")
                )
        return found

    def expects_due(self, lane: Lane) -> bool:
        """Return whether an entry of the lane is due by now, as far as this process knows."""
        at = self._next_due_ms.get(lane)
        return at is not None and at <= self.clock.now_ms()

    def _announce(self, lane: Lane, at: int) -> None:
        """Report to this process, if it wants to know, when something is due that it has written."""
        if self.on_due is not None and at > self.clock.now_ms():
            self.on_due(lane, at)

    def _expect(self, lane: Lane, at: int) -> None:
        self._next_due_ms[lane] = min(at, self._next_due_ms.get(lane, at))

    async def suspend_submissions(self, until_ms: int) -> None:
        """Have no worker plan or send before `until_ms`: there are no API calls for it."""
        key = self.keys.suspended(Lane.SUBMISSIONS)
        lasting_ms = max(0, until_ms - self.clock.now_ms()) + RECENTLY_MS
        await self.redis.set(key, until_ms, px=lasting_ms)
        self._announce(Lane.SUBMISSIONS, until_ms)

    async def subscribe(
        self, request_id: str, fingerprint: str | None, task_id: str | None
    ) -> tuple[Lookup, dict[str, Any] | None]:
        """Have the request's outcome published to the Celery task `task_id`, and return it if there is one.

        Args:
            fingerprint: of the caller's request; another one is a CONFLICT. None matches any.
            task_id: None only looks the request up.
        """
        names = self.keys
        keys = [names.request(request_id), names.waiters(request_id), names.outcome(request_id)]
        keys += [names.outbox, names.due(OUTBOX.lane)]
        keys += [names.caller(task_id or ""), names.progress]
        now_ms = self.clock.now_ms()
        args = [now_ms, fingerprint or "", task_id or "", request_id, str(OUTBOX)]
        args += [CALLER_KEPT_S, now_ms + TELL_AFTER_MS]
        word, now, outcome = await self._subscribe(keys, args)
        lookup = Lookup(word)
        if lookup is not Lookup.ENDED:
            if lookup is Lookup.WAITING and task_id:
                self._announce(OUTBOX.lane, now_ms + TELL_AFTER_MS)
            return lookup, None
        self._expect(OUTBOX.lane, int(now))
        # The public key may be gone, or be somebody else's text.
        return lookup, parsed_object(outcome) or (await self.outcomes([request_id]))[0]

    async def tick(self, under_way_s: float, worker: str) -> bool | None:
        """Do as `request_sweep`, unless nothing can be due: then read how far the ledger is, and return None.

        Each step moves the count. What other scripts schedule without a step, such as the lease of a worker
        that dies, is seen by a look that comes in any case.
        """
        before, self._seen = self._seen, None
        seen = tuple(await cast("Any", self.redis.hmget(self.keys.epoch, ["id", "count", "lost"])))
        if seen == before and self.clock.monotonic_ms() < self._look_at_ms:
            self._seen = seen
            return None
        requested = await self.request_sweep(under_way_s, worker)
        self._seen = seen
        return requested

    async def request_sweep(self, under_way_s: float, worker: str = "") -> bool:
        """Return whether the caller has to send a sweep message; it counts as under way for `under_way_s`.

        `worker` is recorded as alive.
        """
        names = self.keys
        lanes = [key for lane in Lane for key in (names.due(lane), names.suspended(lane))]
        keys = [names.sweep_requested, names.epoch, names.heartbeats, names.clock, names.steps, *lanes]
        under_way_ms = round(under_way_s * 1000)
        known = [worker, self.epoch.step, MAX_CLOCK_STEP_MS, int(self.time_is_proven)]
        args = [self.clock.now_ms(), under_way_ms, *known]
        answer, server_ms, *seen = await self._request_sweep(keys, args)
        name, count, lost, step, knows_step = seen[:5]
        changed_at, since, next_due = map(int, seen[5:8])
        due_in_ms = LOOK_EVERY_MS if next_due < 0 else next_due - self.clock.now_ms()
        self._look_at_ms = self.clock.monotonic_ms() + min(LOOK_EVERY_MS, due_in_ms)
        if changed_at and (self.server_change is None or self.server_change.at != changed_at):
            log.warning("server_changed", since=timestamp(since))
        earlier = tuple((int(begin), int(end)) for begin, end in WINDOW.findall(str(seen[8])))
        self.server_change = ServerChange(changed_at, since, earlier) if changed_at else None
        self.clock.observe(int(server_ms))
        if self.clock.step_ms and not self.time_is_proven:
            # Nothing was concluded by the time that it has had so far, and the server's is as good.
            self.clock.follow_step()
        if not self.epoch.agrees(name, count, lost, bool(int(knows_step))):
            # Only the script that writes marks a loss, and other processes read it from there.
            await self.commit(ChangeSet())
        elif name:
            self.epoch.observe(name, count, lost, step)
        return bool(answer)

    async def sweep_started(self) -> None:
        """Record that the sweep message has arrived: the next one may be sent."""
        await self.redis.delete(self.keys.sweep_requested)

    async def schedule_poll(self, zone: str, at: int) -> bool:
        """Have the zone polled at `at` (ms). Returns True if no job runs there, so that it is not polled."""
        due = Due(DueKind.ZONE, zone)
        idle = await self._idle([self.keys.due(due.lane), self.keys.running(zone)], [str(due), at])
        self._announce(due.lane, at)
        return bool(idle)

    async def schedule_outbox(self, at: int, *, told_after: int = 0) -> None:
        """Have the outbox published at `at` (ms) if there is something in it.

        `told_after`: tasks are not told of the progress of their requests before (ms).
        """
        keys = [self.keys.due(OUTBOX.lane), self.keys.outbox, self.keys.progress]
        due_at = int(await self._schedule_outbox(keys, [str(OUTBOX), at, told_after]))
        if due_at:
            self._expect(OUTBOX.lane, due_at)
            self._announce(OUTBOX.lane, due_at)

    async def progress_told(self, told: Sequence[tuple[str, int]]) -> None:
        """Forget progress that tasks have been told of, unless there is new one. `told`: ids and times."""
        if told:
            await self._progress_told([self.keys.progress], [value for pair in told for value in pair])

    async def usage(self, counters: Sequence[UsageCounter]) -> list[Usage]:
        """Return what each counter shows."""
        keys = [key for one in counters for key in self.keys.usage(one.scope, one.window_s)]
        args = [self.clock.now_ms(), MAX_LEAVING, *(one.window_s * 1000 for one in counters)]
        _, *rows = await self._usage(keys, args)
        leaving = [[int(value) for value in rest] for _, *rest in rows]
        return [
            Usage(int(row[0]), tuple(zip(rest[::2], rest[1::2], strict=True)))
            for row, rest in zip(rows, leaving, strict=True)
        ]

    async def remove_from_outbox(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Remove pairs of task id and request id whose outcome has been published."""
        if pairs:
            await self.redis.zrem(self.keys.outbox, *(f"{task} {request}" for task, request in pairs))
        if answered := [task for task, request in pairs if request == ANSWER]:
            await self.redis.unlink(*(self.keys.answer(task) for task in answered))

    async def last_outcome_id(self) -> str:
        """Return the id of the newest entry of the outcome stream."""
        newest = await cast("Any", self.redis.xrevrange(self.keys.outcomes, count=1))
        return str(newest[0][0]) if newest else "0-0"

    async def next_outcome(self, after: str, block_ms: int) -> None:
        """Wait for an entry of the outcome stream after `after`, at most `block_ms`."""
        await cast("Any", self.redis.xread({self.keys.outcomes: after}, count=1, block=max(block_ms, 1)))
