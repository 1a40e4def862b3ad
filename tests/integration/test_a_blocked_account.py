"""An account that the provider blocks is told of once, however many calls meet it."""

from typing import Any, cast

from pydantic import SecretStr

from config.settings import Settings
from tasks.ehpc.errors import AccountRefused
from tasks.handlers.context import Context
from tasks.handlers.provider_calls import defer_after_error, restore_account
from tasks.ledger.ledger import Ledger
from tasks.runtime.clock import HandClock

REFUSED = AccountRefused("the provider answered 1200: AuthFailure", ret_code=1200)


async def events(ledger: Ledger) -> list[str]:
    return [line["event"] for line in await ledger.overview.journal()]


async def test_a_blocked_account_is_logged_once_until_it_is_restored(
    ledger: Ledger, clock: HandClock
) -> None:
    nothing = cast("Any", None)
    settings = Settings(access_key_id=SecretStr("id"), secret_access_key=SecretStr("key"))
    ctx = Context(settings, ledger, nothing, nothing, clock)

    for _ in range(3):
        await defer_after_error(ctx, REFUSED, 0)
    assert await events(ledger) == ["account_blocked"]

    await restore_account(ctx, await ledger.account())
    await defer_after_error(ctx, REFUSED, 0)
    assert await events(ledger) == ["account_blocked", "account_restored", "account_blocked"]
