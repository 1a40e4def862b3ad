"""`scaleout dead-letters`: messages that could not be read, and were put aside."""

import json
from typing import Any

from config.settings import LedgerSettings
from tasks.ledger.ledger import Ledger
from tasks.runtime.redis_servers import async_client
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import confirm, echo, print_json, refuse

COLUMNS = ("id", "at", "queue", "task_id", "reason")
ITEM_CHARS = 4_000


def list_letters(*, as_json: bool) -> Exit:
    found = [letter for _, letter in with_ledger(_read)]
    if as_json:
        print_json(found)
    elif found:
        print_table(None, COLUMNS, [[letter.get(column) for column in COLUMNS] for letter in found])
        echo("`scaleout dead-letters show ID` has the message, `requeue ID` sends it again")
    else:
        echo("no message was put aside")
    return Exit.SUCCEEDED


def show_letter(name: str, *, as_json: bool) -> Exit:
    found = _named(name)
    if found is None:
        return _unknown(name, as_json=as_json)
    letter = found[1]
    if as_json:
        print_json(letter)
    else:
        shown = {**letter, "item": str(letter.get("item"))[:ITEM_CHARS]}
        print_table(None, ("field", "value"), list(shown.items()))
    return Exit.SUCCEEDED


def requeue_letter(name: str, *, as_json: bool) -> Exit:
    """Send a message again, for example once a producer or a worker of another version is mended."""
    found = _named(name)
    if found is None:
        return _unknown(name, as_json=as_json)
    text, letter = found
    if not letter["whole"] or not letter.get("queue"):
        problem = f"{name} was not kept whole, or names no queue: have its producer send it again"
        return refuse(problem, Exit.USAGE, as_json=as_json)
    with_ledger(lambda ledger, settings: _requeue(ledger, settings, text, letter))
    if as_json:
        print_json({"id": name, "queue": letter["queue"], "requeued": True})
    echo(f"{name} is in queue {letter['queue']} again")
    return Exit.SUCCEEDED


def clear_letters(*, confirmed: bool, as_json: bool) -> Exit:
    if not confirmed and not confirm("Forget all messages that were put aside?"):
        return Exit.USAGE
    cleared = with_ledger(_clear)
    if as_json:
        print_json({"cleared": cleared})
    echo(f"{cleared} messages are forgotten")
    return Exit.SUCCEEDED


def _named(name: str) -> tuple[str, dict[str, Any]] | None:
    return next(((text, letter) for text, letter in with_ledger(_read) if letter["id"] == name), None)


async def _read(ledger: Ledger, _: LedgerSettings) -> list[tuple[str, dict[str, Any]]]:
    """Return each letter as it is kept, and what it says; the newest first."""
    redis: Any = ledger.redis
    found = []
    for number, text in enumerate(await redis.lrange(ledger.keys.dead_letters, 0, -1)):
        try:
            letter = json.loads(text)
        except ValueError:
            letter = {"reason": "cannot be read", "item": text}
        # Those of an earlier version have no id.
        none = {"id": f"#{number}", "at": None, "queue": None, "task_id": None, "whole": False}
        found.append((str(text), {**none, **letter}))
    return found


async def _requeue(ledger: Ledger, settings: LedgerSettings, text: str, letter: dict[str, Any]) -> None:
    """Put the message back, then forget the letter: one that dies in between leaves both."""
    broker: Any = async_client(settings.broker_address, decode_responses=True)
    try:
        await broker.lpush(letter["queue"], letter["item"])
    finally:
        await broker.aclose()
    redis: Any = ledger.redis
    await redis.lrem(ledger.keys.dead_letters, 1, text)


async def _clear(ledger: Ledger, _: LedgerSettings) -> int:
    redis: Any = ledger.redis
    kept = int(await redis.llen(ledger.keys.dead_letters))
    await redis.delete(ledger.keys.dead_letters)
    return kept


def _unknown(name: str, *, as_json: bool) -> Exit:
    problem = f"no message {name} was put aside: see `scaleout dead-letters list`"
    return refuse(problem, Exit.NOT_FOUND, as_json=as_json)
