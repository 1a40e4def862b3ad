"""A ledger as lines of JSON, which any server can be filled from: Redis or Valkey, of any version.

The first line says what it is. Each other line is one key: `{"key", "type", "value", "ttl_ms"}`. Keys are
read one after the other while workers may run, so a copy is no older than its beginning and no newer than its
end: like any copy it lacks what came after, and a ledger filled from one is marked as having lost data.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger

FORMAT = 1
AT_ONCE = 500
LEAST_TTL_MS = 60_000
# Of processes, of single calls, and of the broker: without meaning elsewhere. The key of cookies is a secret.
LEFT_OUT = frozenset(
    {
        "acts",
        "answered",
        "answers",
        "changes",
        "clock",
        "gateway-secret",
        "heartbeats",
        "replicated",
        "rest",
        "scrub-cursor",
        "scrub-next",
        "sweep-requested",
        "unacked",
        "unacked-index",
        "unacked-mutex",
        "workers",
    }
)
TYPES = ("string", "hash", "list", "set", "zset", "stream")


class NotImportable(ValueError):  # noqa: N818 - named by what it is
    """The lines are no copy of a ledger, or the server has one already; `problems` says all that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that was read and can be written. `exported_at`: the server's time then, in ms."""

    exported_at: int
    keys: Sequence[Mapping[str, Any]]


async def export(ledger: Ledger) -> AsyncIterator[str]:
    """Yield the lines of a copy."""
    redis: Any = ledger.redis
    epoch = await redis.hgetall(ledger.keys.epoch)
    head = {"format": FORMAT, "exported_at": ledger.clock.now_ms(), "time": timestamp(ledger.clock.now_ms())}
    yield json.dumps({**head, "epoch": epoch.get("id"), "account": epoch.get("account")})
    start, seen = len(ledger.keys.prefix) + 1, set[str]()
    names: list[str] = []
    async for name in redis.scan_iter(match=f"{ledger.keys.prefix}:*", count=AT_ONCE):
        # SCAN may return a key twice.
        if name[start:].partition(":")[0] not in LEFT_OUT and name not in seen:
            seen.add(name)
            names.append(name)
        if len(names) == AT_ONCE:
            async for line in _lines(redis, names, start):
                yield line
            names = []
    async for line in _lines(redis, names, start):
        yield line


async def _lines(redis: Any, names: Sequence[str], start: int) -> AsyncIterator[str]:
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
            pipe.pttl(name)
        answers = await pipe.execute() if names else []
    rows = list(zip(names, answers[::2], answers[1::2], strict=True))
    async with redis.pipeline(transaction=False) as pipe:
        for name, kind, _ in rows:
            _read(pipe, name, kind)
        values = await pipe.execute() if names else []
    for (name, kind, ttl_ms), value in zip(rows, values, strict=True):
        # What is gone by now has expired.
        if value:
            content = sorted(value) if isinstance(value, set) else value
            yield json.dumps({"key": name[start:], "type": kind, "value": content, "ttl_ms": max(ttl_ms, 0)})


def _read(pipe: Any, name: str, kind: str) -> None:
    match kind:
        case "hash":
            pipe.hgetall(name)
        case "list":
            pipe.lrange(name, 0, -1)
        case "set":
            pipe.smembers(name)
        case "zset":
            pipe.zrange(name, 0, -1, withscores=True)
        case "stream":
            pipe.xrange(name)
        case _:
            pipe.get(name)


def parsed(lines: Iterable[str]) -> Copy:
    """Return a copy. Raises NotImportable with every problem, before anything is written."""
    rows = iter(lines)
    head = _object(next(rows, ""))
    if head is None or head.get("format") != FORMAT or not isinstance(head.get("exported_at"), int):
        raise NotImportable([f"line 1: is not the beginning of a copy of a ledger (format {FORMAT})"])
    keys, problems = [], []
    for number, line in enumerate(rows, 2):
        row = _object(line)
        if row is None or row.get("type") not in TYPES or not isinstance(row.get("key"), str):
            problems.append(f"line {number}: is not a key of a ledger")
        elif not _fits(row["type"], row.get("value")) or not isinstance(row.get("ttl_ms"), int):
            problems.append(f"line {number}: key {row['key'][:100]!r} has no value of its type {row['type']}")
        else:
            keys.append(row)
    if not keys and not problems:
        problems.append("line 2: there is none, so there is nothing to import")
    if problems:
        raise NotImportable(problems)
    return Copy(head["exported_at"], keys)


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _fits(kind: str, value: Any) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if kind == "hash":
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    if not isinstance(value, list) or not value:
        return False
    if kind in ("list", "set"):
        return all(isinstance(one, str) for one in value)
    shape = dict if kind == "stream" else (int | float)
    return all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], shape)
        for one in value
    )


async def write(ledger: Ledger, copy: Copy) -> int:
    """Write a copy to a server that has no ledger of this prefix, marked as having lost data.

    Returns how many keys were written. Raises NotImportable if there is something already.
    """
    redis: Any = ledger.redis
    # The settings, and what a worker that waits here has said of itself, are no ledger.
    async for name in redis.scan_iter(match=f"{ledger.keys.prefix}:*", count=AT_ONCE):
        if name[len(ledger.keys.prefix) + 1 :].partition(":")[0] not in LEFT_OUT | {"epoch", "counters"}:
            raise NotImportable([f"there is a ledger with this prefix already, such as its key {name}"])
    passed_ms = max(0, ledger.clock.now_ms() - copy.exported_at)
    # First: a worker that looks while the rest is written must send nothing.
    await redis.hset(ledger.keys.epoch, "lost", ledger.clock.now_ms())
    for first in range(0, len(copy.keys), AT_ONCE):
        async with redis.pipeline(transaction=True) as pipe:
            for row in copy.keys[first : first + AT_ONCE]:
                _stage(pipe, f"{ledger.keys.prefix}:{row['key']}", row, passed_ms)
            await pipe.execute()
    await redis.hset(ledger.keys.epoch, "lost", ledger.clock.now_ms())
    return len(copy.keys)


def _stage(pipe: Any, name: str, row: Mapping[str, Any], passed_ms: int) -> None:
    value = row["value"]
    match row["type"]:
        case "hash":
            pipe.hset(name, mapping=value)
        case "list":
            pipe.rpush(name, *value)
        case "set":
            pipe.sadd(name, *value)
        case "zset":
            pipe.zadd(name, dict(value))
        case "stream":
            for entry, fields in value:
                pipe.xadd(name, fields, id=entry)
        case _:
            pipe.set(name, value)
    if row["ttl_ms"]:
        pipe.pexpire(name, max(row["ttl_ms"] - passed_ms, LEAST_TTL_MS))
