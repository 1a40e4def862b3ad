"""History entries, and the filters of requests."""

from typing import Any

import pytest

from tasks.ledger.record_values import Reason, State
from tasks.views.history import HistoryFilter, attempts, history_entry
from tasks.views.status import state_of
from tests.support.records import NOW, assignment, request


def line(event: str, operation_id: str | None = None, **fields: Any) -> dict[str, Any]:
    of = {} if operation_id is None else {"operation_id": operation_id}
    return {"at": f"at {event}", "event": event, **of, **fields}


def test_every_attempt_is_there_with_what_the_provider_said() -> None:
    lines = [
        line("request_accepted", requested_by="ann"),
        line("operation_planned", "op-1", node_count=8),
        line("operation_refused", "op-1", ret_code=5200, message="the provider answered 5200: too few"),
        line("operation_planned", "op-2", node_count=8),
        line("operation_in_doubt", "op-2", reason="no reply within 30 s"),
        line("operation_adopted", "op-2", job_id="j-2", by="the provider's log"),
        line("operation_finished", "op-2", status="failed", nodes_added=3, error_codes="5200"),
        line("request_finished"),
    ]

    first, second = attempts(lines)

    assert (first["operation_id"], first["state"], first["ret_code"]) == ("op-1", "refused", 5200)
    assert first["last_error"] == "the provider answered 5200: too few"
    assert (first["at"], first["until"]) == ("at operation_planned", "at operation_refused")
    assert (second["state"], second["job_id"], second["nodes_added"]) == ("failed", "j-2", 3)
    assert second["last_error"] == "no reply within 30 s"
    assert first.keys() == second.keys()


def test_an_attempt_without_its_beginning_is_reported_as_far_as_known() -> None:
    (found,) = attempts([line("operation_submitted", "op-1", job_id="j-1")])

    assert (found["state"], found["node_count"]) == ("submitted", None)


def test_an_entry_has_its_producer_and_its_result() -> None:
    refused = Reason(kind="rejected", message="no", code=1100)
    one = request(
        unassigned_nodes=0,
        requested_by="ann",
        status="rejected",
        finished_at=NOW,
        last_reason=refused,
        refusals=1,
    )

    entry = history_entry(one, [])

    assert (entry["requested_by"], entry["state"], entry["refusals"]) == ("ann", "rejected", 1)
    assert entry["error"] == {"kind": "rejected", "message": "no", "code": 1100}
    assert entry["duration_s"] == 3600.0
    assert entry["attempts"] == []


def test_a_request_that_was_refused_as_invalid_has_an_entry_too() -> None:
    entry = history_entry(request(spec=None, unassigned_nodes=0, status="rejected", finished_at=NOW), [])

    assert entry["cluster_id"] is entry["nodes_requested"] is None


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], "waiting"),
        ([State.PLANNED], "waiting"),
        ([State.RUNNING], "in_progress"),
        ([State.IN_DOUBT, State.HELD], "held"),
        ([State.SUCCEEDED], "waiting"),
    ],
)
def test_the_state_of_a_request_that_has_not_ended(states: list[State], expected: str) -> None:
    assignments = tuple(assignment(f"op-{place}", 1, state) for place, state in enumerate(states))

    assert state_of(request(nodes=9, assignments=assignments)) == expected


def test_a_filter_matches_only_what_it_names() -> None:
    one = request(requested_by="ann", status="failed", finished_at=NOW, unassigned_nodes=0)

    def matches(**criteria: Any) -> bool:
        return HistoryFilter(**criteria).matches(one)

    assert matches()
    assert matches(cluster_id="ehpc-a", requested_by="ann", state="failed", since=NOW)
    assert not matches(cluster_id="ehpc-b")
    assert not matches(requested_by="bob")
    assert not matches(state="succeeded")
    assert not matches(since=NOW + 1)
    assert HistoryFilter(since=NOW + 1).matches(request())
