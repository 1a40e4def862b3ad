"""A call is made only while its grant holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.handlers.provider_calls import MustWait, counted
from tasks.quota.rate_limiter import Grant
from tasks.runtime.clock import HandClock


async def test_a_process_that_was_stopped_for_too_long_does_not_make_the_call_it_was_granted() -> None:
    clock, made, given_back = HandClock(), [], []

    async def call() -> None:
        made.append("call")

    async def unused(calls: list[str]) -> None:
        given_back.extend(calls)

    machinery = cast("Any", SimpleNamespace(clock=clock, governor=SimpleNamespace(unused=unused)))
    grant = Grant(("3:a",), until_ms=clock.now_ms() + 30_000)
    clock.advance(31)

    with pytest.raises(MustWait):
        await counted(machinery, grant, "3:a", call())
    assert made == []
    assert given_back == ["3:a"], "what is not made does not count"
