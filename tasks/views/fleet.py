"""The workers of a ledger: what each says of itself, and whether it is alive."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger
from tasks.ledger.reads import parsed_object

ALIVE_MS = 60_000


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker says of itself.

    Fields:
        policy_file, policy: the path, and a digest of what is in force; None without one.
        clock_step_s: how far the Redis server's clock is from this worker's.
    """

    name: str
    host: str
    pid: int
    version: str
    since: str
    policy_file: str | None
    policy: str | None
    clock_step_s: float


def this_worker(
    name: str, since_ms: int, policy_file: str | None, policy: str | None, step_ms: int
) -> WorkerInfo:
    """Describe this process."""
    return WorkerInfo(
        name=name,
        host=platform.node(),
        pid=os.getpid(),
        version=version("ehpc-scaleout"),
        since=timestamp(since_ms),
        policy_file=policy_file,
        policy=policy or None,
        clock_step_s=round(step_ms / 1000, 1),
    )


async def note_worker(ledger: Ledger, info: WorkerInfo) -> None:
    """Write what a worker says of itself, and forget those that have not ticked for a day."""
    beats = await ledger.overview.heartbeats()
    redis: Any = ledger.redis
    await redis.hset(ledger.keys.workers, info.name, json.dumps(asdict(info)))
    gone = [name for name in await redis.hkeys(ledger.keys.workers) if name not in {*beats, info.name}]
    if gone:
        await redis.hdel(ledger.keys.workers, *gone)


async def fleet(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the workers of the last day, those that ticked last first."""
    beats, now = await ledger.overview.heartbeats(), ledger.clock.now_ms()
    redis: Any = ledger.redis
    said: Mapping[str, str] = await redis.hgetall(ledger.keys.workers)
    rows = []
    for name, at in sorted(beats.items(), key=lambda item: -item[1]):
        known = parsed_object(said.get(name)) or {"name": name}
        alive = now - at < ALIVE_MS
        rows.append({**known, "last_tick": timestamp(at), "alive": alive})
    return rows


def policies_differ(rows: list[dict[str, Any]]) -> list[str]:
    """Return the policies that the workers alive have, if they are not all the same."""
    found = {str(row.get("policy") or "none") for row in rows if row["alive"] and "policy" in row}
    return sorted(found) if len(found) > 1 else []
