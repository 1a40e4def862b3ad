"""The durable record of requests and operations, in Redis: one typed method a script."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, cast

from redis.asyncio import Redis

from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.commit_encoding import StepEncoding
from tasks.ledger.due import OUTBOX, Due, DueKind, Lane
from tasks.ledger.epoch import Epoch
from tasks.ledger.keys import Keys
from tasks.ledger.overview import Overview
from tasks.ledger.reads import LATELY_MS, LUA, LedgerReads
from tasks.ledger.usage_counters import Reading
from tasks.runtime.clock import Clock
from tasks.runtime.redis_client import Script

REMEMBER_ANSWERS_MS = 600_000
MOST_LEAVING = 100


class Joined(StrEnum):
    """What is known of a request that somebody wants to wait for."""

    ABSENT = "ABSENT"
    CONFLICT = "CONFLICT"
    WAITING = "WAITING"
    ENDED = "ENDED"


class Ledger(LedgerReads):
    """All writes of the ledger; what it holds is read by way of `LedgerReads` and `Overview`.

    `outcome_ttl_s`: how long ended requests, their operations and outcomes are kept, in seconds;
    `stream_maxlen`: about how many entries the outcome stream keeps.
    """

    def __init__(
        self, redis: Redis, keys: Keys, clock: Clock, *, outcome_ttl_s: int, stream_maxlen: int
    ) -> None:
        super().__init__(redis, keys, clock)
        self.overview = Overview(self)
        self._outcome_ttl_s = outcome_ttl_s
        self._stream_maxlen = stream_maxlen
        self._commit = Script(redis, LUA / "commit.lua")
        self._claim = Script(redis, LUA / "claim_due.lua")
        self._join = Script(redis, LUA / "subscribe.lua")
        self._ring = Script(redis, LUA / "request_sweep.lua")
        self._idle = Script(redis, LUA / "idle.lua")
        self._usage = Script(redis, LUA / "usage.lua")
        self.epoch = Epoch()
        self._next_due_ms: dict[Lane, int] = {}
        self.on_due: Callable[[Lane, int], None] | None = None

    async def learn_time(self) -> None:
        """Ask the server for its time; needed once, before anything that uses the clock."""
        seconds, micros = await self.redis.time()
        self.clock.observe(seconds * 1000 + micros // 1000)

    async def commit(self, changes: Changes) -> Committed:
        """Apply `changes` all or nothing.

        STALE if a record has moved on since it was read; OVER if a meter has no room for what it would add;
        LOST if `changes` sends and data is missing here.
        """
        encoding = StepEncoding(self.keys, self.clock.now_ms(), self._outcome_ttl_s, self._stream_maxlen)
        keys, step = encoding.encode(changes)
        args = [self.clock.for_script(), uuid.uuid4().hex, REMEMBER_ANSWERS_MS, step]
        known = [self.epoch.id, self.epoch.count, uuid.uuid4().hex, int(changes.sends)]
        word, now, *seen = await self._commit(keys, [*args, *known])
        self.clock.observe(int(now))
        self.epoch.observe(*seen)
        for lane, at in changes.soonest_due().items():
            self._expect(lane, at)
            self._announce(lane, at)
        return Committed[word]

    async def accept(self) -> None:
        """A person takes the ledger as it is, though data that a worker has seen is missing from it."""
        name = uuid.uuid4().hex
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(self.keys.epoch, mapping={"id": name, "accepted": name, "count": 0})
            pipe.hdel(self.keys.epoch, "lost")
            await pipe.execute()

    async def lost_since(self) -> int | None:
        """Since when (ms) data is known to be missing, or None."""
        since = await cast("Any", self.redis.hget(self.keys.epoch, "lost"))
        return None if since is None else int(since)

    async def claim_due(self, lane: Lane, limit: int, lease_s: float) -> list[Due]:
        """Take at most `limit` due entries, leased to the caller for `lease_s`."""
        # What is written from now on, while the answer is on its way, has to be looked at all the same.
        self._next_due_ms.pop(lane, None)
        keys = [self.keys.due(lane), self.keys.answered, self.keys.answers, self.keys.rest(lane)]
        args = [self.clock.for_script(), uuid.uuid4().hex, REMEMBER_ANSWERS_MS, limit, round(lease_s * 1000)]
        now, following, *entries = await self._claim(keys, args)
        self.clock.observe(int(now))
        if int(following) >= 0:
            self._expect(lane, int(following))
        return [Due.parse(entry) for entry in entries]

    def expects_due(self, lane: Lane) -> bool:
        """Whether anything of the lane is due by now, as far as this process knows without asking."""
        at = self._next_due_ms.get(lane)
        return at is not None and at <= self.clock.now_ms()

    def _announce(self, lane: Lane, at: int) -> None:
        """Tell this process, if it wants to know, when something is due that it has itself written."""
        if self.on_due is not None and at > self.clock.now_ms():
            self.on_due(lane, at)

    def _expect(self, lane: Lane, at: int) -> None:
        self._next_due_ms[lane] = min(at, self._next_due_ms.get(lane, at))

    async def rest_submissions(self, until_ms: int) -> None:
        """Nobody plans or sends before `until_ms`: there are no API calls for it."""
        key = self.keys.rest(Lane.SUBMISSIONS)
        lasting_ms = max(0, until_ms - self.clock.now_ms()) + LATELY_MS
        await self.redis.set(key, until_ms, px=lasting_ms)
        self._announce(Lane.SUBMISSIONS, until_ms)

    async def join(
        self, request_id: str, fingerprint: str | None, task_id: str | None
    ) -> tuple[Joined, dict[str, Any] | None]:
        """Have `task_id` told of the request's outcome, or get the outcome if the request has ended."""
        names = self.keys
        keys = [names.request(request_id), names.waiters(request_id), names.outcome(request_id)]
        word, now, outcome = await self._join(
            keys, [self.clock.for_script(), fingerprint or "", task_id or ""]
        )
        self.clock.observe(int(now))
        return Joined(word), json.loads(outcome) if outcome else None

    async def ring(self, under_way_s: float, worker: str = "") -> bool:
        """Whether the caller has to send a sweep message; it counts as under way for `under_way_s`.

        `worker` is noted as alive.
        """
        lanes = [key for lane in Lane for key in (self.keys.due(lane), self.keys.rest(lane))]
        keys = [self.keys.doorbell, self.keys.epoch, self.keys.heartbeats, *lanes]
        args = [self.clock.for_script(), round(under_way_s * 1000), worker]
        answer, now, *seen = await self._ring(keys, args)
        self.clock.observe(int(now))
        if not self.epoch.agrees(*seen):
            # The script that writes is the judge; it also tells all others.
            await self.commit(Changes())
        return bool(answer)

    async def ring_heard(self) -> None:
        """The sweep message has arrived: the next one may be sent."""
        await self.redis.delete(self.keys.doorbell)

    async def rest_zone(self, zone: str, next_ms: int) -> bool:
        """Look at the zone again at `next_ms`, or not at all if nothing runs there any more: then True."""
        due = Due(DueKind.ZONE, zone)
        at_rest = await self._idle([self.keys.due(due.lane), self.keys.running(zone)], [str(due), next_ms])
        self._announce(due.lane, next_ms)
        return bool(at_rest)

    async def rest_outbox(self, next_ms: int) -> None:
        await self._idle([self.keys.due(OUTBOX.lane), self.keys.outbox], [str(OUTBOX), next_ms])

    async def readings(self, meters: Sequence[tuple[str, int]]) -> list[Reading]:
        """What meters show, each named by its scope and its window in seconds."""
        names = self.keys
        keys = [key(*meter) for meter in meters for key in (names.meter_times, names.meter_nodes)]
        args = [self.clock.for_script(), MOST_LEAVING, *(window_s * 1000 for _, window_s in meters)]
        now, *rows = await self._usage(keys, args)
        self.clock.observe(int(now))
        pairs = [[int(value) for value in rest] for _, *rest in rows]
        return [
            Reading(int(row[0]), tuple(zip(rest[::2], rest[1::2], strict=True)))
            for row, rest in zip(rows, pairs, strict=True)
        ]

    async def told(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Take out of the outbox who has been told."""
        if pairs:
            await self.redis.zrem(self.keys.outbox, *(f"{task} {request}" for task, request in pairs))

    async def last_outcome_id(self) -> str:
        """Where the outcome stream ends now."""
        newest = await cast("Any", self.redis.xrevrange(self.keys.outcomes, count=1))
        return str(newest[0][0]) if newest else "0-0"

    async def next_outcome(self, after: str, block_ms: int) -> None:
        """Wait until the outcome stream goes on after the entry `after`, at most `block_ms`."""
        await cast("Any", self.redis.xread({self.keys.outcomes: after}, count=1, block=max(block_ms, 1)))
