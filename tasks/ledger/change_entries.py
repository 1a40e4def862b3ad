"""The entries of a change set, each with the commands of `commit.lua` that write it. Times in ms."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from tasks.ledger.due import OUTBOX, Due, Lane
from tasks.ledger.durations import KEPT, KEPT_S, Duration
from tasks.ledger.keys import Command, Key, Keys
from tasks.ledger.notices import Notify
from tasks.ledger.outcome_entries import Answer, Publish, PublishLateNodes
from tasks.ledger.pools import Pool
from tasks.ledger.usage_entries import LimitCheck, UsageEntry

JOBS = {True: "jobs:succeeded", False: "jobs:failed"}  # counters
NODES = "nodes:added"
JOB_KEPT_S = 90 * 86_400
# Longer than any request waits, but for those that are held for weeks.
CALLER_KEPT_S = 60 * 86_400


@dataclass(frozen=True, slots=True)
class Enqueue:
    """The request waits in the queue of its pool; `position` is its time of arrival, or later."""

    cluster_id: str
    pool: str
    request_id: str
    position: int

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield "zadd", keys.demand(self.cluster_id, self.pool), self.position, self.request_id
        yield "sadd", keys.pools(self.cluster_id), self.pool
        yield "sooner", keys.heads(self.cluster_id), self.position, self.pool


@dataclass(frozen=True, slots=True)
class Arrive(Enqueue):
    """A new request arrives. What was decided meanwhile because there was less demand is decided again.

    The cluster's own record stays as it is: many arrivals must not make the steps conflict that end its jobs.
    """

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield from Enqueue.commands(self, keys)
        yield "bump", keys.arrivals(self.cluster_id)


@dataclass(frozen=True, slots=True)
class Dequeue:
    """The request waits for nodes no longer."""

    cluster_id: str
    pool: str
    request_id: str

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield "zrem", keys.demand(self.cluster_id, self.pool), self.request_id


@dataclass(frozen=True, slots=True)
class ForgetPool:
    """The pool's queue is empty, unless a request arrives meanwhile."""

    cluster_id: str
    pool: str

    def commands(self, keys: Keys) -> Iterator[Command]:
        cluster_id = self.cluster_id
        queue, heads = keys.demand(cluster_id, self.pool), keys.heads(cluster_id)
        yield "forget", keys.pools(cluster_id), queue, self.pool, heads


@dataclass(frozen=True, slots=True)
class PollJob:
    """The job is polled with its zone, until `sent_at` is None."""

    zone: str
    job_id: str
    operation_id: str
    sent_at: int | None

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield scored(keys.running(self.zone), f"{self.job_id} {self.operation_id}", self.sent_at)


@dataclass(frozen=True, slots=True)
class OwnJob:
    """The job belongs to the operation for good; the step is a conflict if it is another's.

    The list of the cluster's jobs forgets those that were sent before `forget_before`.
    """

    cluster_id: str
    job_id: str
    operation_id: str
    sent_at: int
    forget_before: int

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield "owned", keys.job(self.job_id), self.operation_id
        yield "set", keys.job(self.job_id), self.operation_id, JOB_KEPT_S
        yield "zadd", keys.jobs(self.cluster_id), self.sent_at, f"{self.job_id} {self.operation_id}"
        yield "trim", keys.jobs(self.cluster_id), self.forget_before


@dataclass(frozen=True, slots=True)
class DisownJob:
    """The job was given to the operation by a decision that is corrected: it may be another's."""

    cluster_id: str
    job_id: str
    operation_id: str

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield "owned", keys.job(self.job_id), self.operation_id
        yield "del", keys.job(self.job_id)
        yield "zrem", keys.jobs(self.cluster_id), f"{self.job_id} {self.operation_id}"


class Index(Enum):
    """Lists that people and views read."""

    OPEN = "open"
    HELD = "held"
    PAUSED = "paused"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Listed:
    """`member` is on the list since `since`, or not on it."""

    index: Index
    member: str
    since: int | None

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield scored(keys.index(self.index.value), self.member, self.since)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The Celery task waits for the request's outcome."""

    request_id: str
    task_id: str

    def commands(self, keys: Keys) -> Iterator[Command]:
        caller = keys.caller(self.task_id)
        yield "sadd", keys.waiters(self.request_id), self.task_id
        yield "hset", caller, "request_id", self.request_id
        yield "expire", caller, CALLER_KEPT_S


@dataclass(frozen=True, slots=True)
class Tell:
    """The tasks that wait for the request, if any, are told of its state at `at`; if they are to be told of
    an earlier change anyway, with that, once nothing has changed until `settled_at`.
    """

    request_id: str
    at: int
    settled_at: int

    def commands(self, keys: Keys) -> Iterator[Command]:
        outbox = (keys.progress, keys.due(OUTBOX.lane))
        times = (self.at, self.settled_at)
        waiters = keys.waiters(self.request_id)
        yield "tell", waiters, *outbox, self.request_id, str(OUTBOX), *times, keys.changes


@dataclass(frozen=True, slots=True)
class Park:
    """The due entry waits beside the due set for the end of a pause."""

    scope: str
    due: Due
    since: int

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield "zadd", keys.parked(self.scope), self.since, str(self.due)


@dataclass(frozen=True, slots=True)
class Unpark:
    """All that waits for the end of the pause is due at `at`."""

    scope: str
    at: int

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield "move", keys.parked(self.scope), keys.due(Lane.SUBMISSIONS), self.at


@dataclass(frozen=True, slots=True)
class KeepDuration:
    """How long an operation of the pool took."""

    pool: Pool
    duration: Duration

    def commands(self, keys: Keys) -> Iterator[Command]:
        pool, key = self.pool, keys.durations(self.pool.cluster_id, self.pool.name)
        yield "rpush", key, self.duration.text(), KEPT
        yield "expire", key, KEPT_S
        yield "zadd", keys.pools_seen, self.duration.at, pool.text()
        yield "trim", keys.pools_seen, self.duration.at - KEPT_S * 1000
        yield "count", keys.counters, JOBS[self.duration.ok], 1
        yield "count", keys.counters, NODES, self.duration.nodes


@dataclass(frozen=True, slots=True)
class ScheduleInForce:
    """Whether the schedule is in force."""

    name: str
    in_force: bool

    def commands(self, keys: Keys) -> Iterator[Command]:
        yield "sadd" if self.in_force else "srem", keys.schedules, self.name


Entry = (
    Enqueue
    | Dequeue
    | ForgetPool
    | PollJob
    | OwnJob
    | DisownJob
    | Listed
    | Subscribe
    | Park
    | Unpark
    | KeepDuration
    | ScheduleInForce
    | LimitCheck
    | UsageEntry
    | Publish
    | Answer
    | PublishLateNodes
    | Notify
)


def scored(key: Key, member: str, score: int | None) -> Command:
    """Return the command that puts `member` into a sorted set, or takes it out if `score` is None."""
    return ("zrem", key, member) if score is None else ("zadd", key, score, member)
