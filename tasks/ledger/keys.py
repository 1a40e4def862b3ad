"""The names of all keys. Only the outcome keys and the outcome stream are public."""

from dataclasses import dataclass

from tasks.ledger.due import Lane


class Key(str):
    """The name of a key, as opposed to other values of a script call."""

    __slots__ = ()


# A word of commit.lua, its key, its values; values of type Key are keys too.
Command = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Keys:
    """`prefix`: the first part of every key, `SCALEOUT_KEY_PREFIX`."""

    prefix: str

    def _key(self, *parts: str) -> Key:
        return Key(":".join((self.prefix, *parts)))

    # Public.

    def outcome(self, request_id: str) -> Key:
        return self._key("outcome", request_id)

    @property
    def outcomes(self) -> Key:
        """Stream of outcomes."""
        return self._key("outcomes")

    # Records: hashes of version and content.

    def request(self, request_id: str) -> Key:
        return self._key("request", request_id)

    def operation(self, operation_id: str) -> Key:
        return self._key("operation", operation_id)

    def cluster(self, cluster_id: str) -> Key:
        return self._key("cluster", cluster_id)

    def zone(self, zone: str) -> Key:
        return self._key("zone", zone)

    @property
    def account(self) -> Key:
        return self._key("account")

    def pause(self, scope: str) -> Key:
        return self._key("pause", scope)

    def schedule(self, name: str) -> Key:
        return self._key("schedule", name)

    # Queues.

    def pools(self, cluster_id: str) -> Key:
        """Set of the pools of a cluster that may have waiting requests."""
        return self._key("pools", cluster_id)

    def demand(self, cluster_id: str, pool: str) -> Key:
        """Sorted set of the waiting requests of a pool, by arrival."""
        return self._key("demand", cluster_id, pool)

    def due(self, lane: Lane) -> Key:
        """Sorted set of due entries, by when each is due (ms)."""
        return self._key("due", lane)

    def suspended(self, lane: Lane) -> Key:
        """Until when (ms) nothing of the lane is claimed, e.g. because there are no API calls for it."""
        return self._key("rest", lane)

    def parked(self, scope: str) -> Key:
        """Sorted set of the due entries that wait for the end of a pause, by since when."""
        return self._key("parked", scope)

    def waiters(self, request_id: str) -> Key:
        """Set of the Celery task ids that wait for a request's outcome."""
        return self._key("waiters", request_id)

    @property
    def outbox(self) -> Key:
        """Sorted set of `task_id request_id`: outcomes that are not yet published to their task."""
        return self._key("outbox")

    # Indexes.

    def index(self, name: str) -> Key:
        """Sorted set by since when: `open` requests, `held` operations, `paused` scopes, `broken` pools."""
        return self._key(name)

    @property
    def ended(self) -> Key:
        """Sorted set of the requests whose outcome is kept, by their end."""
        return self._key("ended")

    def running(self, zone: str) -> Key:
        """Sorted set of `job_id operation_id`: the jobs that are polled, by the time of sending."""
        return self._key("running", zone)

    def jobs(self, cluster_id: str) -> Key:
        """Sorted set of `job_id operation_id`: which operation owns each known job, by its sending."""
        return self._key("jobs", cluster_id)

    @property
    def schedules(self) -> Key:
        """Set of the names of the schedules that are in force."""
        return self._key("schedules")

    # Counters, durations, histories.

    def usage(self, scope: str, window_s: int) -> tuple[Key, Key]:
        """Sorted set of what a counter counts, by from when; hash of how many nodes, and their sum."""
        times = self._key("meter", str(window_s), scope, "times")
        return times, self._key("meter", str(window_s), scope, "nodes")

    def durations(self, cluster_id: str, pool: str) -> Key:
        """List of how long the last operations of a pool took, as JSON."""
        return self._key("durations", cluster_id, pool)

    @property
    def pools_seen(self) -> Key:
        """Sorted set of the pools that have had an operation, as JSON, by the end of the last one."""
        return self._key("pools-seen")

    def history(self, request_id: str) -> Key:
        """List of a request's events, as JSON."""
        return self._key("history", request_id)

    @property
    def journal(self) -> Key:
        """List of the last events that stopped submissions, or let them resume."""
        return self._key("journal")

    @property
    def counters(self) -> Key:
        return self._key("counters")

    @property
    def dead_letters(self) -> Key:
        """List of the last messages that could not be decoded."""
        return self._key("dead-letters")

    @property
    def heartbeats(self) -> Key:
        """Sorted set of the workers, by their last tick."""
        return self._key("heartbeats")

    # The ledger itself.

    @property
    def call_times(self) -> Key:
        """Sorted set of the last script calls, by time; beside it what each returned."""
        return self._key("answered")

    @property
    def call_results(self) -> Key:
        return self._key("answers")

    @property
    def epoch(self) -> Key:
        """Which ledger this is, how many steps it has seen, and whether data was found missing."""
        return self._key("epoch")

    @property
    def sweep_requested(self) -> Key:
        """Until when a sweep message counts as under way (ms)."""
        return self._key("sweep-requested")
