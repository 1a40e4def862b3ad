"""A call is made only while its grant holds."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.ehpc.models import JobRow
from tasks.handlers.clock_checks import wait_while_clocks_differ
from tasks.handlers.provider_calls import Deferred, _may_concern, call_with_grant
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


@pytest.mark.parametrize(
    ("resources", "concerns"),
    [([], True), (["cln-1"], True), (["ehpc-a", "cln-1"], True), (["ehpc-b"], False), (["hpc-a"], False)],
)
def test_a_row_that_names_no_cluster_may_concern_each(resources: list[str], concerns: bool) -> None:
    row = JobRow.model_validate({"job_id": "j-1", "resource_ids": resources})

    assert _may_concern("ehpc-a", row) is concerns


SKEWS = [(None, True), (5.0, True), (-5.0, True), (6.0, False), (-6.0, False)]


@pytest.mark.parametrize(("skew_s", "sent"), SKEWS)
def test_nothing_is_sent_while_clocks_differ_in_either_direction(skew_s: float | None, sent: bool) -> None:
    ctx = cast("Any", SimpleNamespace(clock=HandClock(), api=SimpleNamespace(skew_s=skew_s)))
    operation = cast("Any", SimpleNamespace(operation_id="op-1"))

    with nullcontext() if sent else pytest.raises(Deferred):
        wait_while_clocks_differ(ctx, operation)
