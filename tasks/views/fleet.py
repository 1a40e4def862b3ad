"""The workers of a ledger: what each says of itself, and whether it is alive."""

from collections.abc import Mapping, Sequence
from typing import Any

from config.timestamps import timestamp
from tasks.ledger.ledger import Ledger
from tasks.ledger.reads import parsed_object

ALIVE_S = 60
UNKNOWN = dict.fromkeys(("host", "pid", "version", "since", "policy_file", "policy", "clock_step_s"))


async def fleet(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the workers of the last day, those that ticked last first."""
    beats, now = await ledger.overview.heartbeats(), ledger.clock.now_ms()
    redis: Any = ledger.redis
    said: Mapping[str, str] = await redis.hgetall(ledger.keys.workers)
    rows = []
    for name, at in sorted(beats.items(), key=lambda item: -item[1]):
        known = {**UNKNOWN, **(parsed_object(said.get(name)) or {}), "name": name}
        alive = now - at < ALIVE_S * 1000
        rows.append({**known, "last_tick": timestamp(at), "alive": alive})
    return rows


def policies_differ(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the policies that these workers have, if they are not all the same."""
    found = {str(worker["policy"] or "none") for worker in workers}
    return sorted(found) if len(found) > 1 else []
