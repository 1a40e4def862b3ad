"""`scaleout dead-letters`: messages that could not be read, and were put aside."""

import json
from typing import Any, Self

import redis

from config.settings import LedgerSettings, load
from tasks.ledger.keys import Keys
from workers.cli.exit_codes import Exit
from workers.cli.terminal import confirm, echo, print_json, print_table

COLUMNS = ("id", "at", "queue", "task_id", "reason")
ITEM_CHARS = 4_000


class _Letters:
    """The list in the ledger, and the broker to which a letter returns."""

    def __init__(self) -> None:
        settings = load(LedgerSettings)
        self._key = Keys(settings.key_prefix).dead_letters
        self._ledger = redis.Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True)
        self._broker = redis.Redis.from_url(settings.broker.get_secret_value(), decode_responses=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ledger.close()
        self._broker.close()

    def all(self) -> list[tuple[str, dict[str, Any]]]:
        """Return each letter as it is kept, and what it says; the newest first."""
        found = []
        for number, text in enumerate(self._ledger.lrange(self._key, 0, -1)):
            try:
                letter = json.loads(text)
            except ValueError:
                letter = {"reason": "cannot be read", "item": text}
            # Those of an earlier version have no id.
            found.append((str(text), {"id": f"#{number}", "task_id": None, "whole": False, **letter}))
        return found

    def named(self, name: str) -> tuple[str, dict[str, Any]] | None:
        return next(((text, letter) for text, letter in self.all() if letter["id"] == name), None)

    def requeue(self, text: str, letter: dict[str, Any]) -> None:
        """Put the message back, then forget the letter: one that dies in between leaves both."""
        self._broker.lpush(letter["queue"], letter["item"])
        self._ledger.lrem(self._key, 1, text)

    def clear(self) -> int:
        kept = int(self._ledger.llen(self._key))
        self._ledger.delete(self._key)
        return kept


def list_letters(*, as_json: bool) -> Exit:
    with _Letters() as letters:
        found = [letter for _, letter in letters.all()]
    if as_json:
        print_json(found)
    elif found:
        print_table(None, COLUMNS, [[letter.get(column) for column in COLUMNS] for letter in found])
        echo("`scaleout dead-letters show ID` has the message, `requeue ID` sends it again")
    else:
        echo("no message was put aside")
    return Exit.SUCCEEDED


def show_letter(name: str, *, as_json: bool) -> Exit:
    with _Letters() as letters:
        found = letters.named(name)
    if found is None:
        return _unknown(name)
    letter = found[1]
    if as_json:
        print_json(letter)
    else:
        shown = {**letter, "item": str(letter.get("item"))[:ITEM_CHARS]}
        print_table(None, ("field", "value"), list(shown.items()))
    return Exit.SUCCEEDED


def requeue_letter(name: str, *, as_json: bool) -> Exit:
    """Send a message again, for example once a producer or a worker of another version is mended."""
    with _Letters() as letters:
        found = letters.named(name)
        if found is None:
            return _unknown(name)
        text, letter = found
        if not letter["whole"] or not letter.get("queue"):
            echo(f"scaleout: {name} was not kept whole, or names no queue: have its producer send it again")
            return Exit.USAGE
        letters.requeue(text, letter)
    if as_json:
        print_json({"id": name, "queue": letter["queue"], "requeued": True})
    echo(f"{name} is in queue {letter['queue']} again")
    return Exit.SUCCEEDED


def clear_letters(*, confirmed: bool, as_json: bool) -> Exit:
    if not confirmed and not confirm("Forget all messages that were put aside?"):
        return Exit.USAGE
    with _Letters() as letters:
        cleared = letters.clear()
    if as_json:
        print_json({"cleared": cleared})
    echo(f"{cleared} messages are forgotten")
    return Exit.SUCCEEDED


def _unknown(name: str) -> Exit:
    echo(f"scaleout: no message {name} was put aside: see `scaleout dead-letters list`")
    return Exit.NOT_FOUND
