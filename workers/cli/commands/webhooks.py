"""`scaleout webhooks`: who is told of what happens, how that fares, and telling it again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from config.settings import LedgerSettings
from config.timestamps import timestamp
from tasks.ledger.events import Event
from tasks.ledger.ledger import Ledger
from tasks.ledger.webhook_queues import WebhookQueues, WebhookState
from tasks.webhooks.again import replay, send_test
from workers.cli.durations import InvalidDuration, parse_since
from workers.cli.exit_codes import Exit
from workers.cli.session import with_ledger
from workers.cli.tables import print_table
from workers.cli.terminal import echo, print_json, refuse, user_name

T = TypeVar("T")
COLUMNS = ("name", "url", "events", "pending", "delivered", "failures", "state")
TEST_TIMEOUT_S = 40.0
LOOK_EVERY_S = 0.25
NONE = "no webhook is in force: workers read them from the policy file ([[webhook]])"


class _Unknown(LookupError):  # noqa: N818 - named by what it is
    """No webhook in force has this name."""


def list_webhooks(*, as_json: bool) -> Exit:
    found = with_ledger(read_webhooks)
    if as_json:
        print_json(found)
    elif found:
        rows = [[_cell(row, column) for column in COLUMNS] for row in found]
        print_table(None, COLUMNS, rows)
    else:
        echo(NONE)
    return Exit.SUCCEEDED


def test_webhook(name: str, *, as_json: bool) -> Exit:
    """Exit code 0 if it was delivered, 1 if not, 3 if no worker has tried yet."""
    try:
        said = _with_webhook(name, lambda queues, ledger, _: _test(queues, ledger, name))
    except _Unknown as unknown:
        return refuse(str(unknown), Exit.NOT_FOUND, as_json=as_json)
    if as_json:
        print_json(said)
    echo(said["detail"])
    if said["delivered"] is None:
        return Exit.NOT_ENDED
    return Exit.SUCCEEDED if said["delivered"] else Exit.FAILED


def replay_outcomes(name: str, since: str, *, as_json: bool) -> Exit:
    async def again(_: WebhookQueues, ledger: Ledger, about: dict[str, Any]) -> int:
        told = await replay(ledger, name, about, parse_since(since, ledger.clock.now_ms()))
        fields = {"webhook": name, "since": since, "count": told}
        await ledger.record(Event("webhook_replayed", fields=fields))
        return told

    try:
        told = _with_webhook(name, again)
    except InvalidDuration as error:
        return refuse(f"--since: {error}", Exit.USAGE, as_json=as_json)
    except _Unknown as unknown:
        return refuse(str(unknown), Exit.NOT_FOUND, as_json=as_json)
    if as_json:
        print_json({"webhook": name, "outcomes": told})
    echo(f"{name} is told of {told} outcome{'' if told == 1 else 's'} again")
    return Exit.SUCCEEDED


def enable_webhook(name: str, *, as_json: bool) -> Exit:
    async def enable(queues: WebhookQueues, ledger: Ledger, _: dict[str, Any]) -> None:
        await queues.enable(name)
        await ledger.record(Event("webhook_enabled", fields={"webhook": name}, in_journal=True))

    try:
        _with_webhook(name, enable)
    except _Unknown as unknown:
        return refuse(str(unknown), Exit.NOT_FOUND, as_json=as_json)
    if as_json:
        print_json({"webhook": name, "enabled": True})
    echo(f"{name} is told of what is pending, and of what happens from now on")
    return Exit.SUCCEEDED


async def read_webhooks(ledger: Ledger, _: LedgerSettings) -> list[dict[str, Any]]:
    """Return what is in force, as workers have written it to the ledger."""
    return [_document(state) for state in await WebhookQueues(ledger).states()]


def _document(state: WebhookState) -> dict[str, Any]:
    return {
        "name": state.name,
        **{key: state.about.get(key) for key in ("url", "events", "producers")},
        "pending": state.pending,
        "next_at": None if state.next_at is None or state.disabled else timestamp(state.next_at),
        **{key: state.number(key) or 0 for key in ("delivered", "failures", "given_up", "dropped")},
        **{key: _time(state.number(key)) for key in ("last_delivered_at", "last_failure_at")},
        "last_failure": state.counts.get("last_failure"),
        "disabled": state.disabled,
    }


def _time(at: int | None) -> str | None:
    return None if at is None else timestamp(at)


def _cell(row: dict[str, Any], column: str) -> object:
    if column == "events":
        return ", ".join(row["events"])
    if column != "state":
        return row[column]
    if row["disabled"]:
        return f"disabled: {row['disabled']}"
    return f"failing: {row['last_failure']}" if row["failures"] else "ok"


def _with_webhook(name: str, act: Callable[[WebhookQueues, Ledger, dict[str, Any]], Awaitable[T]]) -> T:
    """Run `act` with what is in force of a webhook. Raises _Unknown."""

    async def run(ledger: Ledger, _: LedgerSettings) -> T:
        queues = WebhookQueues(ledger)
        in_force = await queues.in_force()
        if name not in in_force:
            known = ", ".join(sorted(in_force)) or "none"
            raise _Unknown(f"no webhook {name!r} is in force; there are: {known}")
        return await act(queues, ledger, in_force[name])

    return with_ledger(run)


async def _test(queues: WebhookQueues, ledger: Ledger, name: str) -> dict[str, Any]:
    before = await queues.state(name, {})
    if before.disabled is not None:
        detail = f"{name} is disabled ({before.disabled}): `scaleout webhooks enable {name}` first"
        return {"webhook": name, "delivered": False, "detail": detail}
    subject = await send_test(ledger, name, user_name())
    for _ in range(round(TEST_TIMEOUT_S / LOOK_EVERY_S)):
        await asyncio.sleep(LOOK_EVERY_S)
        attempts = await queues.attempts(name, subject)
        if attempts is None:
            return {"webhook": name, "delivered": True, "detail": f"{name} has answered with success"}
        if attempts:
            problem = (await queues.state(name, {})).counts.get("last_failure")
            # It is tried again like all else, but nobody waits for that.
            await queues.forget(name, subject)
            return {"webhook": name, "delivered": False, "detail": f"{name} has failed: {problem}"}
    detail = f"no worker has tried in {TEST_TIMEOUT_S:g} s; it stays in the queue"
    return {"webhook": name, "delivered": None, "detail": detail}
