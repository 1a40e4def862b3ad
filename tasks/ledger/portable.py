"""A ledger as lines of JSON, which any server can be filled from: Redis or Valkey, of any version.

A ledger that is filled from a copy is marked as having lost data, because it lacks what came after.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.copied_families import AFTER, BEFORE, FIRST, LAST, LEFT_OUT, family
from tasks.ledger.copy_format import FORMAT, CopyLines, Head, NotImportable
from tasks.ledger.ledger import Ledger
from tasks.ledger.record import SCHEMA

AT_ONCE = 500
SCANNED_AT_ONCE = 2_000
LEAST_TTL_MS = 60_000
WORKER_ALIVE_MS = 30_000
# What a worker that waits here, or the command itself, has written; it is no ledger.
NO_LEDGER = LEFT_OUT | {"epoch", "counters"}
# What an import says of itself; a copy's own does not count here.
OF_AN_IMPORT = ("lost", "imported", "importing")


async def export(ledger: Ledger) -> AsyncIterator[str]:
    """Yield the lines of a copy; one that lacks the last line is no copy."""
    redis: Any = ledger.redis
    epoch = await redis.hgetall(ledger.keys.epoch)
    lines, now = CopyLines(), ledger.clock.now_ms()
    head = {"format": FORMAT, "exported_at": now, "time": timestamp(now), "prefix": ledger.keys.prefix}
    yield lines.line({**head, "schema": SCHEMA, "epoch": epoch.get("id"), "account": epoch.get("account")})
    for kinds in (FIRST, BEFORE, None, AFTER, LAST):
        async for names in _names(ledger, kinds):
            async for row in _rows(redis, names, len(ledger.keys.prefix) + 1):
                yield lines.line(row)
    yield lines.end()


async def _names(ledger: Ledger, kinds: frozenset[str] | None) -> AsyncIterator[list[str]]:
    """Yield the names of all keys of these families, some at a time; None: of those that are in no round."""
    apart = FIRST | BEFORE | AFTER | LAST | LEFT_OUT
    start, seen = len(ledger.keys.prefix) + 1, set[str]()
    names: list[str] = []
    async for name in ledger.redis.scan_iter(match=f"{ledger.keys.prefix}:*", count=SCANNED_AT_ONCE):
        kind = family(name[start:])
        wanted = kind not in apart if kinds is None else kind in kinds
        # SCAN may return a key twice.
        if wanted and name not in seen:
            seen.add(name)
            names.append(name)
        if len(names) == AT_ONCE:
            yield names
            names = []
    if names:
        yield names


async def _rows(redis: Any, names: Sequence[str], start: int) -> AsyncIterator[dict[str, Any]]:
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
            pipe.pttl(name)
        answers = await pipe.execute()
    found = list(zip(names, answers[::2], answers[1::2], strict=True))
    async with redis.pipeline(transaction=False) as pipe:
        for name, kind, _ in found:
            _read(pipe, name, kind)
        values = await pipe.execute()
    for (name, kind, ttl_ms), value in zip(found, values, strict=True):
        # What is gone by now has expired, or belongs to what has moved on.
        if value:
            content = sorted(value) if isinstance(value, set) else value
            yield {"key": name[start:], "type": kind, "value": content, "ttl_ms": max(ttl_ms, 0)}


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


async def write(ledger: Ledger, head: Head, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a copy to a server that has no ledger of this prefix, marked as having lost data.

    An import that was interrupted is made again from its beginning.

    Args:
        rows: of the copy that `head` belongs to.

    Returns:
        How many keys were written.

    Raises:
        NotImportable: there is a ledger already, or a worker runs.
    """
    redis: Any = ledger.redis
    now = ledger.clock.now_ms()
    alive = await redis.zrevrangebyscore(
        ledger.keys.heartbeats, "+inf", now - WORKER_ALIVE_MS, start=0, num=1
    )
    if alive:
        raise NotImportable(
            [f"worker {alive[0]} runs on this server: stop all workers, and start them after the import"]
        )
    await _make_room(ledger)
    # First: a worker that starts while the rest is written must send nothing.
    await redis.hset(ledger.keys.epoch, mapping={"lost": now, "importing": now})
    passed_ms, count, keys = max(0, now - head.exported_at), 0, iter(rows)
    while page := list(islice(keys, AT_ONCE)):
        async with redis.pipeline(transaction=True) as pipe:
            for row in page:
                _stage(pipe, f"{ledger.keys.prefix}:{row['key']}", row, passed_ms)
            await pipe.execute()
        count += len(page)
    if count != head.keys:
        raise NotImportable([f"the file has {count} keys now and had {head.keys}: start the import again"])
    await redis.hset(ledger.keys.epoch, mapping={"lost": now, "imported": head.exported_at})
    await redis.hdel(ledger.keys.epoch, "importing")
    return count


async def _make_room(ledger: Ledger) -> None:
    redis: Any = ledger.redis
    interrupted = await redis.hexists(ledger.keys.epoch, "importing")
    start = len(ledger.keys.prefix) + 1
    async for name in redis.scan_iter(match=f"{ledger.keys.prefix}:*", count=SCANNED_AT_ONCE):
        if family(name[start:]) in NO_LEDGER:
            continue
        if not interrupted:
            raise NotImportable([f"there is a ledger with this prefix already, such as its key {name}"])
        await redis.unlink(name)


def _stage(pipe: Any, name: str, row: Mapping[str, Any], passed_ms: int) -> None:
    value = row["value"]
    if row["key"] == "epoch":
        value = {field: text for field, text in value.items() if field not in OF_AN_IMPORT}
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
