"""Which families of keys go with a copy of a ledger, and in which order they are read.

Keys are read one after the other while workers run, so a copy is no older than its beginning and no newer
than its end. Its order makes that safe:

- A lock is older than the operation that it names: a copy lacks none that locks a cluster.
- An operation is older than its requests. A request may then name an operation that the copy lacks, which is
  held. The other way round, nodes of a running operation would be wanted again, and bought twice.
- What a request's end removes is older than the request, and what it writes is newer. Each waiting task and
  each webhook is then told at least once.
"""

# Read in this order. A family that is in none of these, such as one of a later version, is read with BETWEEN.
FIRST = frozenset({"cluster"})
BEFORE = frozenset({"job", "jobs", "operation", "outcome", "running", "schedule", "schedules", "waiters"})
BETWEEN = frozenset(
    {
        "account",
        "answer",
        "arrivals",
        "broken",
        "counters",
        "dead-letters",
        "demand",
        "due",
        "durations",
        "ended",
        "epoch",
        "held",
        "history",
        "journal",
        "meter",
        "open",
        "parked",
        "pause",
        "paused",
        "pools",
        "pools-seen",
        "quota",
        "reported-missing",
        "request",
        "steps",
        "unreadable",
        "webhook",
        "webhooks",
        "zone",
    }
)
AFTER = frozenset({"caller", "notices", "outbox", "outcomes", "progress"})
# A notice becomes deliveries in one step.
LAST = frozenset({"deliveries"})
# Of processes, of single calls, and of the broker: without meaning elsewhere. The key of cookies is a secret.
# Indexes that workers make from the others are made again.
LEFT_OUT = frozenset(
    {
        "acts",
        "answered",
        "answers",
        "changes",
        "clock",
        "ended-of",
        "gateway-secret",
        "heads",
        "heartbeats",
        "replicated",
        "rest",
        "scrub-cursor",
        "scrub-next",
        # A record of a copy may be older than this says.
        "settled",
        "sweep-requested",
        "unacked",
        "unacked-index",
        "unacked-mutex",
        "workers",
    }
)


def family(name: str) -> str:
    """Return the family of a key, given without its prefix."""
    return name.partition(":")[0]
