"""What a worker says of itself, for operators."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger


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
