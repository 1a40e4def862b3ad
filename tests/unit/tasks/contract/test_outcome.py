"""The shape of an outcome, as other programs read it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.timestamps import timestamp
from tasks.contract.outcome import Outcome, OutcomeError, OutcomeOperation

SMALLEST: dict[str, Any] = {
    "request_id": "r-1",
    "cluster_id": "ehpc-a",
    "zone": "jn1a",
    "node_role": "compute",
    "status": "succeeded",
    "nodes_requested": 2,
    "nodes_added": 2,
    "accepted_at": "2023-11-14T22:13:20.000Z",
    "finished_at": "2023-11-14T22:14:20.500Z",
    "duration_s": 60.5,
}


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1_649_208_393_050, "2022-04-06T01:26:33.050Z"),
        (1_700_000_000_000, "2023-11-14T22:13:20.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_utc_with_milliseconds(ms: int, text: str) -> None:
    assert timestamp(ms) == text


@given(st.integers(0, 253_402_300_799_999))
def test_every_millisecond_can_be_read_back_to_the_millisecond(ms: int) -> None:
    time = datetime.fromisoformat(timestamp(ms))

    assert time.tzinfo == UTC
    assert (time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() == pytest.approx(ms / 1000, abs=1e-4)


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_times_as_text_are_in_the_order_of_the_times(one: int, other: int) -> None:
    assert (timestamp(one) < timestamp(other)) == (one < other)


def test_an_outcome_has_every_documented_field_and_no_other() -> None:
    assert Outcome(**SMALLEST).model_dump(mode="json") == {
        "version": 1,
        **SMALLEST,
        "node_ids": [],
        "operations": [],
        "refusals": 0,
        "error": None,
        "requested_by": None,
    }


def test_an_operation_and_an_error_have_every_documented_field_and_no_other() -> None:
    assert set(OutcomeOperation.model_fields) == {
        *("operation_id", "job_id", "node_count", "status", "error_codes", "submitted_at", "finished_at")
    }
    assert set(OutcomeError.model_fields) == {"code", "kind", "message"}


def test_what_a_rejected_request_cannot_say_is_null() -> None:
    unknown = dict.fromkeys(["cluster_id", "zone", "node_role", "nodes_requested", "accepted_at"])
    error = OutcomeError(code=None, kind="invalid", message="node_count is missing")

    content = Outcome(
        **{**SMALLEST, **unknown, "status": "rejected", "nodes_added": 0, "error": error}
    ).model_dump(mode="json")

    assert {name: content[name] for name in unknown} == unknown
    assert content["error"] == {"code": None, "kind": "invalid", "message": "node_count is missing"}


@pytest.mark.parametrize(
    "status", ["succeeded", "partially_succeeded", "failed", "timed_out", "rejected", "cancelled"]
)
def test_each_documented_status_can_be_written(status: str) -> None:
    assert Outcome(**{**SMALLEST, "status": status}).status == status


@pytest.mark.parametrize(
    "wrong",
    [{"status": "done"}, {"version": 2}, {"nodes_added": None}, {"finished_at": None}, {"more": 1}],
    ids=repr,
)
def test_an_outcome_of_another_shape_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Outcome(**{**SMALLEST, **wrong})


def test_an_outcome_that_is_written_and_read_again_is_the_same() -> None:
    operation = OutcomeOperation(
        operation_id="op-1",
        job_id="j-1",
        node_count=2,
        status="succeeded",
        error_codes="",
        submitted_at=timestamp(1),
        finished_at=timestamp(2),
    )
    outcome = Outcome(**{**SMALLEST, "node_ids": ["cln-1", "cln-2"], "operations": [operation]})

    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome
    assert json.loads(outcome.model_dump_json()) == outcome.model_dump(mode="json")


def test_two_outcomes_do_not_share_their_lists() -> None:
    one, other = Outcome(**SMALLEST), Outcome(**SMALLEST)

    one.node_ids.append("cln-1")

    assert other.node_ids == []
