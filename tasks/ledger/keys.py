"""The names of all keys. Only the outcome keys and the outcome stream are public."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.ledger.due import Lane


@dataclass(frozen=True, slots=True)
class Keys:
    prefix: str

    def outcome(self, request_id: str) -> str:
        return f"{self.prefix}:outcome:{request_id}"

    @property
    def outcomes(self) -> str:
        return f"{self.prefix}:outcomes"

    def request(self, request_id: str) -> str:
        return f"{self.prefix}:request:{request_id}"

    def operation(self, operation_id: str) -> str:
        return f"{self.prefix}:operation:{operation_id}"

    def cluster(self, cluster_id: str) -> str:
        return f"{self.prefix}:cluster:{cluster_id}"

    def zone(self, zone: str) -> str:
        return f"{self.prefix}:zone:{zone}"

    @property
    def account(self) -> str:
        return f"{self.prefix}:account"

    def pools(self, cluster_id: str) -> str:
        """Set of the pools of a cluster that may have waiting demand."""
        return f"{self.prefix}:pools:{cluster_id}"

    def demand(self, cluster_id: str, pool: str) -> str:
        """Sorted set of the waiting requests of a pool, by arrival."""
        return f"{self.prefix}:demand:{cluster_id}:{pool}"

    def running(self, zone: str) -> str:
        """Sorted set of `job_id operation_id`, by the time of sending."""
        return f"{self.prefix}:running:{zone}"

    def jobs(self, cluster_id: str) -> str:
        """Sorted set of `job_id operation_id`: whose each known job of a cluster is, by its sending."""
        return f"{self.prefix}:jobs:{cluster_id}"

    def pause(self, scope: str) -> str:
        return f"{self.prefix}:pause:{scope}"

    @property
    def paused(self) -> str:
        """Sorted set of the scopes that are paused, by since when."""
        return f"{self.prefix}:paused"

    def parked(self, scope: str) -> str:
        """Sorted set of the due entries that wait for the end of a pause, by since when."""
        return f"{self.prefix}:parked:{scope}"

    @property
    def broken(self) -> str:
        """Sorted set of the clusters with an open breaker, by since when."""
        return f"{self.prefix}:broken"

    @property
    def journal(self) -> str:
        """List of the last things that stopped the sending, or let it go on."""
        return f"{self.prefix}:journal"

    def schedule(self, name: str) -> str:
        return f"{self.prefix}:schedule:{name}"

    @property
    def schedules(self) -> str:
        """Set of the names of the schedules that are in force."""
        return f"{self.prefix}:schedules"

    @property
    def heartbeats(self) -> str:
        """Sorted set of the workers, by their last tick."""
        return f"{self.prefix}:heartbeats"

    def durations(self, cluster_id: str, pool: str) -> str:
        """List of how long the last operations of a pool took, as JSON."""
        return f"{self.prefix}:durations:{cluster_id}:{pool}"

    @property
    def pools_seen(self) -> str:
        """Sorted set of the pools that have had an operation, as JSON, by the end of the last one."""
        return f"{self.prefix}:pools-seen"

    def meter_times(self, scope: str, window_s: int) -> str:
        """Sorted set of what counts on a meter, by from when; and beside it how many nodes, and their sum."""
        return f"{self.prefix}:meter:{window_s}:{scope}:times"

    def meter_nodes(self, scope: str, window_s: int) -> str:
        return f"{self.prefix}:meter:{window_s}:{scope}:nodes"

    def history(self, request_id: str) -> str:
        return f"{self.prefix}:history:{request_id}"

    def waiters(self, request_id: str) -> str:
        """Set of the Celery task ids that wait for a request's outcome."""
        return f"{self.prefix}:waiters:{request_id}"

    @property
    def outbox(self) -> str:
        """Sorted set of `task_id request_id`: outcomes that waiting producers have yet to be told."""
        return f"{self.prefix}:outbox"

    def due(self, lane: Lane) -> str:
        """Sorted set of what has to be looked at next, by when."""
        return f"{self.prefix}:due:{lane}"

    def rest(self, lane: Lane) -> str:
        """Until when (ms) nothing of the lane is looked at, e.g. because there are no API calls for it."""
        return f"{self.prefix}:rest:{lane}"

    @property
    def open(self) -> str:
        """Sorted set of the requests that have not ended, by acceptance."""
        return f"{self.prefix}:open"

    @property
    def ended(self) -> str:
        """Sorted set of the requests whose outcome is kept, by their end."""
        return f"{self.prefix}:ended"

    @property
    def held(self) -> str:
        """Sorted set of the operations that wait for a person, by since when."""
        return f"{self.prefix}:held"

    @property
    def answered(self) -> str:
        """Sorted set of the last script calls, by time, and beside it what each was answered."""
        return f"{self.prefix}:answered"

    @property
    def answers(self) -> str:
        return f"{self.prefix}:answers"

    @property
    def epoch(self) -> str:
        """Which ledger this is, how many steps it has seen, and whether data was found missing."""
        return f"{self.prefix}:epoch"

    @property
    def doorbell(self) -> str:
        """Until when a sweep message counts as under way."""
        return f"{self.prefix}:doorbell"

    @property
    def set_aside(self) -> str:
        """List of the last messages that could not be understood."""
        return f"{self.prefix}:set-aside"

    @property
    def counters(self) -> str:
        return f"{self.prefix}:counters"
