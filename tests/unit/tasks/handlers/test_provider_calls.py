"""A call is made only while its grant holds."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.handlers.provider_calls import Deferred, call_with_grant
from tasks.quota.rate_limiter import Grant
from tasks.runtime.clock import HandClock


async def test_a_call_is_not_made_once_its_grant_has_expired() -> None:
    clock, made, given_back = HandClock(), [], []

    async def call() -> None:
        made.append("call")

    async def release(calls: list[str]) -> None:
        given_back.extend(calls)

    ctx = cast("Any", SimpleNamespace(clock=clock, rate_limiter=SimpleNamespace(release=release)))
    grant = Grant(("3:a",), until_ms=clock.now_ms() + 30_000)
    clock.advance(31)

    with pytest.raises(Deferred):
        await call_with_grant(ctx, grant, "3:a", call())
    assert made == []
    assert given_back == ["3:a"], "what is not made does not count"
