"""The names of all keys. Only the outcome keys and the outcome stream are public."""

from collections.abc import Callable
from dataclasses import dataclass


class Key(str):
    """The name of a key, as opposed to other values of a script call."""

    __slots__ = ()


# A word of commit.lua, its key, its values; values of type Key are keys too.
Command = tuple[object, ...]


class _One:
    """A key of its own: `prefix:name`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, keys: "Keys", _: object = None) -> Key:
        return Key(f"{keys.prefix}:{self._name}")


class _Each:
    """A key for each of something: `prefix:name:identity`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, keys: "Keys", _: object = None) -> Callable[[str], Key]:
        return lambda identity: Key(f"{keys.prefix}:{self._name}:{identity}")


@dataclass(frozen=True, slots=True)
class Keys:
    """`prefix`: the first part of every key, `SCALEOUT_KEY_PREFIX`."""

    prefix: str

    # Public: the outcome of a request, and the stream of outcomes.
    outcome = _Each("outcome")
    outcomes = _One("outcomes")

    # Records: hashes of version and content.
    request = _Each("request")
    operation = _Each("operation")
    cluster = _Each("cluster")
    zone = _Each("zone")
    account = _One("account")
    pause = _Each("pause")
    schedule = _Each("schedule")

    # Set of the pools of a cluster that may have waiting requests.
    pools = _Each("pools")
    # The same pools by the arrival of their first request, or earlier: of many, a plan reads the first.
    heads = _Each("heads")
    # Record of a cluster whose version moves with each request that arrives.
    arrivals = _Each("arrivals")
    # Sorted set of a lane's due entries, by when each is due (ms).
    due = _Each("due")
    # Until when (ms) nothing of a lane is claimed, for example because there are no API calls for it.
    suspended = _Each("rest")
    # Sorted set of the due entries that wait for the end of a scope's pause, by since when.
    parked = _Each("parked")
    # Set of the Celery task ids that wait for a request's outcome.
    waiters = _Each("waiters")
    # What is known of a Celery task that waits: its request, its callbacks, and whether it is revoked.
    caller = _Each("caller")
    # Sorted set of the requests whose state has changed since their tasks were told, by when they are (ms).
    progress = _One("progress")
    # Stream of the ids of requests whose state has changed; kept only while somebody listens to it.
    changes = _One("changes")
    # Sorted set of `task_id request_id`: outcomes that are not yet published to their task.
    outbox = _One("outbox")
    # What a Celery task is answered that has no request of its own: a conflict, or a dry run.
    answer = _Each("answer")

    # Sorted set of the requests whose outcome is kept, by their end.
    ended = _One("ended")
    # The same of one cluster, producer or status.
    ended_of = _Each("ended-of")
    # Sorted set of `job_id operation_id`: a zone's jobs that are polled, by when their call was sent.
    running = _Each("running")
    # Sorted set of `job_id operation_id`: which operation owns each known job of a cluster.
    jobs = _Each("jobs")
    # The operation that owns a job, of whichever cluster.
    job = _Each("job")
    # Set of the names of the schedules that are in force.
    schedules = _One("schedules")

    # Sorted set of the pools that have had an operation, as JSON, by the end of the last one.
    pools_seen = _One("pools-seen")
    # Hash of the webhooks in force, as JSON, by name. Nothing is noted for webhooks while there are none.
    webhooks = _One("webhooks")
    # List of what webhooks are to be told of, as JSON, until it is with each of them.
    notices = _One("notices")
    # Sorted set of the subjects of a webhook's deliveries, by when the next is due (ms); how it fares.
    deliveries = _Each("deliveries")
    webhook = _Each("webhook")
    # The key by which gateways recognize the cookies that they have given.
    gateway_secret = _One("gateway-secret")
    # List of a request's events, as JSON.
    history = _Each("history")
    # List of the last events that stopped submissions, or let them resume.
    journal = _One("journal")
    # List of what was done from shells and is not in a worker's log yet, as JSON.
    acts = _One("acts")
    counters = _One("counters")
    # List of the last messages that could not be decoded.
    dead_letters = _One("dead-letters")
    # Sorted set of the keys of records, and of due entries, that a worker could not read, by when it noticed.
    unreadable = _One("unreadable")
    # Where the slow check of all records has arrived, and from when (ms) the next part may be checked.
    scrub_cursor = _One("scrub-cursor")
    scrub_next = _One("scrub-next")
    reported_missing = _Each("reported-missing")
    # Sorted set of the records that will not change any more, and need no further check, by since when.
    settled = _One("settled")
    # Sorted set of the workers, by their last tick, and a hash of what each says of itself, as JSON.
    heartbeats = _One("heartbeats")
    workers = _One("workers")

    # Sorted set of the last script calls, by time; beside it what each returned.
    call_times = _One("answered")
    call_results = _One("answers")
    # Which ledger this is, how many steps it has seen, and whether data was found missing.
    epoch = _One("epoch")
    # Sorted set of the ids of the last steps, by their count.
    steps = _One("steps")
    # Written only to wait until replicas have it, and so all that was written before.
    replicated = _One("replicated")
    # The time of the worker that ticked last, and the server's then (ms), which differs after a step.
    clock = _One("clock")
    # Until when a sweep message counts as under way (ms).
    sweep_requested = _One("sweep-requested")

    def index(self, name: str) -> Key:
        """Return the sorted set by since when of `open` requests, `held` operations, `paused` or `broken`."""
        return Key(f"{self.prefix}:{name}")

    def demand(self, cluster_id: str, pool: str) -> Key:
        """Return the sorted set of the waiting requests of a pool, by arrival."""
        return Key(f"{self.prefix}:demand:{cluster_id}:{pool}")

    def durations(self, cluster_id: str, pool: str) -> Key:
        """Return the list of how long the last operations of a pool took, as JSON."""
        return Key(f"{self.prefix}:durations:{cluster_id}:{pool}")

    def deliveries_about(self, name: str, subject: str) -> Key:
        """Return the list of a webhook's deliveries about one subject, in order, as JSON."""
        return Key(f"{self.prefix}:deliveries:{name}:{subject}")

    def usage(self, scope: str, window_s: int) -> tuple[Key, Key]:
        """Return a counter's sorted set of what counts, by from when, and its hash of node counts."""
        name = f"{self.prefix}:meter:{window_s}:{scope}"
        return Key(f"{name}:times"), Key(f"{name}:nodes")


def short_name(keys: Keys, key: str) -> str:
    """Return a key without the ledger's prefix."""
    return key.removeprefix(f"{keys.prefix}:")
