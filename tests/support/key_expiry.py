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
    "arrivals:*",
    "answers",
    "broken",
    "calls:*",
    "clock",
    "cluster:*",
    "counters",
    "dead-letters",
    "demand:*",
    "due:*",
    "ended",
    "epoch",
    "gateway-secret",
    "heads:*",
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
    "progress",
    "pools:*",
    "quota*",
    "rest:*",
    "running:*",
    "schedule:*",
    "schedules",
    "scrub-*",
    "steps",
    "sweep-requested",
    "unacked*",
    "webhook:*",
    "webhooks",
    "workers",
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
    requests = _requests_with_open_work(client)
    return [name for name in left if not _is_open(client, name, requests)]


def _requests_with_open_work(client: redis.Redis) -> set[str]:
    """Return the requests that have not ended, or have ended before an operation that serves them."""
    found = set(map(str, client.zrange("scaleout:open", 0, -1)))
    for name in client.scan_iter("scaleout:operation:*", count=10_000):
        content = _operation(client, str(name))
        if content.get("state", "planned") not in FINAL:
            found |= _served_by(content)
    return found


def _is_open(client: redis.Redis, name: str, requests: set[str]) -> bool:
    _, kind, identity = (*name.split(":", 2), "", "")[:3]
    if kind in OF_A_REQUEST:
        return identity in requests
    if kind != "operation":
        return False
    content = _operation(client, name)
    return content.get("state", "planned") not in FINAL or bool(_served_by(content) & requests)


def _operation(client: redis.Redis, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(client.hget(name, "content") or "{}")
    return content


def _served_by(operation: dict[str, Any]) -> set[str]:
    return {str(part["request_id"]) for part in operation.get("allocations", ())}
