"""A stopping worker starts nothing after it has waited for its running work."""

import asyncio
from typing import Any, cast

import pytest
from pydantic import SecretStr

from config.settings import Settings
from tasks.engine.dispatcher import Dispatcher
from tasks.handlers.context import Context
from tasks.ledger.due import Due, DueKind, Lane
from tasks.ledger.ledger import Ledger
from tests.support.records import scheduled


async def test_what_is_being_claimed_when_it_stops_is_waited_for(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(access_key_id=SecretStr("id"), secret_access_key=SecretStr("key"))
    nothing = cast("Any", None)

    dispatcher = Dispatcher(Context(settings, ledger, nothing, nothing, ledger.clock), nothing)
    drained, begun = False, []

    async def work(due: Due) -> None:
        begun.append((str(due), drained))

    monkeypatch.setattr(dispatcher, "_handle", work)
    await ledger.commit(scheduled({Due(DueKind.SUBMISSION, "op-1"): ledger.clock.now_ms()}))

    dispatcher.sweep_soon([Lane.SUBMISSIONS])
    await asyncio.sleep(0)
    await dispatcher.drain(5.0)
    drained = True
    await asyncio.sleep(0.1)

    assert all(not after for _, after in begun)
