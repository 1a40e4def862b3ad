"""`scaleout doctor`: the broker's queues, who reads them, and who else is there."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from config.policy.file import PolicyError
from config.settings import LedgerSettings
from tasks.contract.policy_file import open_policy
from tasks.ledger.ledger import Ledger
from tasks.runtime.redis_servers import async_client
from tasks.views.fleet import ALIVE_S, fleet, policies_differ
from workers.cli.commands.findings import Finding

BINDINGS = "_kombu.binding."
OF_REMOTE_CONTROL = (".pidbox", "celeryev", ".events")
SCANNED_AT_ONCE = 1_000
CELERYS_QUEUE = "celery"
OUR_TASKS = "scaleout."
READ_OF_A_QUEUE = 1_000

Workers = Sequence[Mapping[str, Any]]


async def broker_findings(settings: LedgerSettings, ledger: Ledger) -> list[Finding]:
    """Return what is to be said of the broker. Raises RedisError if it cannot be reached."""
    client: Any = async_client(settings.broker_address, decode_responses=True)
    try:
        waiting, rows = int(await client.llen(settings.queue)), await fleet(ledger)
        findings = [await _workers(ledger, rows, settings.queue, waiting), *_policies(settings, rows)]
        findings += await _in_celerys_queue(client, settings.queue)
        findings += await _neighbours(client, settings)
    finally:
        await client.aclose()
    return findings


async def _workers(ledger: Ledger, workers: Workers, queue: str, waiting: int) -> Finding:
    alive = sorted(worker["name"] for worker in workers if worker["alive"])
    messages = f"{waiting} messages wait in queue {queue}"
    if alive:
        shown = ", ".join(alive[:5]) + (f" and {len(alive) - 5} more" if len(alive) > 5 else "")
        return Finding("workers alive", "ok", f"{len(alive)}: {shown}; {messages}")
    last = "none has ever ticked" if not workers else f"none has ticked for {ALIVE_S} s"
    open_requests = await ledger.overview.open_count()
    detail = f"{last}; {messages}, and {open_requests} requests are open: start one with `scaleout worker`"
    return Finding("workers alive", "error" if waiting or open_requests else "warning", detail)


def _policies(settings: LedgerSettings, workers: Workers) -> list[Finding]:
    """Report limits that hold in some processes only."""
    rows = [worker for worker in workers if worker["alive"] and worker["version"] is not None]
    if differing := policies_differ(rows):
        detail = f"workers have different policies: {', '.join(differing)}; see `scaleout workers`"
        return [Finding("policies", "error", detail)]
    try:
        here = open_policy(settings).digest or None
    except PolicyError:
        # The check of the policy file says so.
        return []
    without = [row["name"] for row in rows if row["policy"] != here]
    if not without:
        return []
    theirs = rows[0]["policy"] or "none"
    detail = f"this shell has policy {here or 'none'}, and worker {without[0]} has {theirs}"
    return [Finding("policies", "error" if here else "warning", detail)]


async def _in_celerys_queue(client: Any, queue: str) -> list[Finding]:
    """Find messages of ours that a producer has sent without naming a queue."""
    ours = 0
    for text in await client.lrange(CELERYS_QUEUE, 0, READ_OF_A_QUEUE - 1):
        try:
            task = str(json.loads(text)["headers"]["task"])
        except (ValueError, KeyError, TypeError):
            continue
        ours += task.startswith(OUR_TASKS)
    if not ours:
        return []
    detail = (
        f"{ours} messages of ours wait in queue {CELERYS_QUEUE}, which our workers do not read: their "
        f"producer has to name queue={queue}"
    )
    return [Finding(f"queue {CELERYS_QUEUE}", "error", detail)]


async def _neighbours(client: Any, settings: LedgerSettings) -> list[Finding]:
    """Report other Celery applications on the broker, whose remote control reaches our workers."""
    bindings = [
        str(key).removeprefix(BINDINGS)
        async for key in client.scan_iter(f"{BINDINGS}*", count=SCANNED_AT_ONCE)
    ]
    ours = {settings.queue, settings.sweep_queue}
    others = sorted(name for name in bindings if name not in ours and not name.endswith(OF_REMOTE_CONTROL))
    if not others:
        return []
    detail = f"other queues on this database: {', '.join(others[:5])}. See docs/how-to/redis.md"
    return [Finding("neighbours", "warning", detail)]
