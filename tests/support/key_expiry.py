"""Every key of a ledger has a time to live, is permanent, or belongs to a request that has not ended."""

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import redis

from tasks.ledger.record_values import FINAL

# One each, or one for each cluster, zone, pool, schedule: their number does not grow with requests.
PERMANENT = (
    "account",
    "answered",
    "answers",
    "broken",
    "calls:*",
    "cluster:*",
    "counters",
    "dead-letters",
    "demand:*",
    "due:*",
    "ended",
    "epoch",
    "heartbeats",
    "held",
    "jobs:*",
    "journal",
    "meter:*",
    "open",
    "outbox",
    "outcomes",
    "parked:*",
    "pause:*",
    "paused",
    "pools-seen",
    "pools:*",
    "quota*",
    "rest:*",
    "running:*",
    "schedule:*",
    "schedules",
    "sweep-requested",
    "zone:*",
)
# Of Celery: queues, their bindings, and messages that are delivered and not acknowledged.
OF_CELERY = ("_kombu.*", "unacked*", "scaleout", "scaleout.sweep", "celery", "*celery.pidbox", "my-service")
OF_A_REQUEST = ("request", "history", "waiters")


def keys_without_expiry(client: redis.Redis, also_permanent: Iterable[str] = ()) -> list[str]:
    """Return the keys that would stay forever, after all requests that have not ended are disregarded."""
    names = sorted(map(str, client.scan_iter(count=10_000)))
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.ttl(name)
        lasting = [name for name, ttl in zip(names, pipe.execute(), strict=True) if ttl == -1]
    permanent = (*OF_CELERY, *also_permanent, *(f"scaleout:{name}" for name in PERMANENT))
    left = [name for name in lasting if not any(fnmatchcase(name, pattern) for pattern in permanent)]
    if not left:
        return []
    open_requests = set(map(str, client.zrange("scaleout:open", 0, -1)))
    return [name for name in left if not _is_open(client, name, open_requests)]


def _is_open(client: redis.Redis, name: str, open_requests: set[str]) -> bool:
    _, kind, identity = (*name.split(":", 2), "", "")[:3]
    if kind in OF_A_REQUEST:
        return identity in open_requests
    if kind != "operation":
        return False
    content: dict[str, Any] = json.loads(client.hget(name, "content") or "{}")
    served = {part["request_id"] for part in content.get("allocations", ())}
    return content.get("state", "planned") not in FINAL or bool(served & open_requests)
