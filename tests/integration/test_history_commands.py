"""`scaleout history` over many requests, and `scaleout stats`."""

from collections.abc import Mapping
from typing import Any

import pytest

from tasks.contract.request import ScaleOutRequest
from tasks.intake.accept import Accepted, Intake
from tasks.ledger.change_entries import KeepDuration
from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.durations import Duration
from tasks.ledger.events import Event
from tasks.ledger.ledger import Ledger
from tasks.ledger.pools import Pool
from tasks.ledger.record_values import Reason
from tasks.ledger.records import Request
from tasks.state_machine.request_outcome import end_request
from tests.support.command_line import scaleout
from tests.support.processes import environment

MANY = 450


@pytest.fixture
def env(redis_url: str) -> dict[str, str]:
    return environment(redis_url, "http://127.0.0.1:1/api")


async def take_in(ledger: Ledger, request_id: str, **fields: Any) -> None:
    given = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2, **fields}
    spec = ScaleOutRequest.model_validate({"request_id": request_id, **given})
    assert isinstance(await Intake(ledger, coalesce_s=1, deadline_s=60).accept(spec, None), Accepted)


async def end(ledger: Ledger, request_id: str, status: Any = "failed") -> None:
    request = await ledger.request(request_id)
    assert isinstance(request, Request)
    reason = Reason(kind="shortage", message="the provider answered 5200: too few", code=5200)
    changes = ChangeSet()
    about = {"operation_id": f"op-{request_id}", "message": reason.message, "ret_code": 5200}
    changes.record(Event("operation_refused", requests=(request_id,), fields=about))
    failed = request.model_copy(update={"last_reason": reason})
    end_request(changes, failed, status, ledger.clock.now_ms())
    assert await ledger.commit(changes) is CommitResult.OK


def ids(env: Mapping[str, str], *arguments: str) -> list[str]:
    done = scaleout(env, "history", *arguments, "--json")
    assert done.code == 0, done.err
    return [entry["request_id"] for entry in done.json()]


async def test_requests_are_found_by_cluster_producer_status_and_time(
    env: dict[str, str], ledger: Ledger, clock: Any
) -> None:
    await take_in(ledger, "a", requested_by="ann")
    await take_in(ledger, "b", requested_by="bob", cluster_id="ehpc-b")
    await take_in(ledger, "c", requested_by="ann", cluster_id="ehpc-b")
    await end(ledger, "a")
    clock.advance(3_600)
    await end(ledger, "b", "timed_out")

    assert ids(env) == ["c", "b", "a"]
    assert ids(env, "--cluster", "ehpc-b") == ["c", "b"]
    assert ids(env, "--requested-by", "ann") == ["c", "a"]
    assert ids(env, "--requested-by", "ann", "--status", "failed") == ["a"]
    assert ids(env, "--status", "waiting") == ["c"]
    assert ids(env, "--since", "2023-11-14T23:00:00Z") == ["c", "b"]
    assert ids(env, "--since", "2023-11-14T22:00:00Z", "--status", "failed") == ["a"]
    assert ids(env, "--since", "1h") == ["c"]


async def test_an_entry_has_producer_attempts_errors_and_outcome(env: dict[str, str], ledger: Ledger) -> None:
    await take_in(ledger, "a", requested_by="ann")
    await end(ledger, "a")

    (entry,) = scaleout(env, "history", "--status", "failed", "--json").json()
    table = scaleout(env, "history").out

    assert (entry["requested_by"], entry["state"], entry["nodes_requested"]) == ("ann", "failed", 2)
    assert entry["accepted_at"] == "2023-11-14T22:13:20.000Z"
    (attempt,) = entry["attempts"]
    assert (attempt["operation_id"], attempt["state"], attempt["ret_code"]) == ("op-a", "refused", 5200)
    assert attempt["last_error"] == "the provider answered 5200: too few"
    assert entry["error"]["kind"] == "shortage"
    assert "op-a refused" in table


async def test_many_requests_are_read_in_pages_and_a_limit_is_reported(
    env: dict[str, str], ledger: Ledger, clock: Any
) -> None:
    for number in range(MANY):
        await take_in(ledger, f"r-{number:03}")
        await end(ledger, f"r-{number:03}")
        clock.advance(0.001 * (number % 3 == 0))

    everything = ids(env, "--limit", "1000")
    few = scaleout(env, "history", "--limit", "3", "--json")

    assert len(everything) == len(set(everything)) == MANY
    assert [entry["request_id"] for entry in few.json()] == everything[:3]
    assert "only 3 are shown and there are more" in few.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("a", "--events"), "a request, --events and filters exclude each other"),
        (("a", "--status", "failed"), "a request, --events and filters exclude each other"),
        (("--status", "lost"), "--status: 'lost' is not one of succeeded"),
        (("--since", "soon"), "--since: 'soon' is neither a duration"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(
    env: dict[str, str], arguments: tuple[str, ...], problem: str
) -> None:
    done = scaleout(env, "history", *arguments)

    assert (done.code, done.out) == (2, "")
    assert problem in done.err


def test_an_empty_ledger_has_an_empty_history(env: dict[str, str]) -> None:
    assert ids(env) == []
    assert scaleout(env, "history", "--events", "--json").json() == []


async def test_stats_show_durations_and_failures_by_pool(env: dict[str, str], ledger: Ledger) -> None:
    pool = Pool("ehpc-a", "p", "jn1a", "compute", {"cpu": 8})
    other = Pool("ehpc-b", "p", "jn1a", "login")
    changes = ChangeSet()
    for number in range(1, 11):
        changes.add(KeepDuration(pool, Duration(number * 1000, 2, number < 10, ledger.clock.now_ms())))
    changes.add(KeepDuration(other, Duration(500, 1, True, ledger.clock.now_ms())))
    assert await ledger.commit(changes) is CommitResult.OK

    rows = {row["cluster_id"]: row for row in scaleout(env, "stats", "--json").json()}
    table = scaleout(env, "stats", "--cluster", "ehpc-a", "-o", "wide").out

    assert rows.keys() == {"ehpc-a", "ehpc-b"}
    assert (rows["ehpc-a"]["p50_s"], rows["ehpc-a"]["p90_s"]) == (5.0, 9.0)
    assert (rows["ehpc-a"]["operations"], rows["ehpc-a"]["failure_rate"]) == (10, 0.1)
    assert "cpu: 8" in table
    assert "ehpc-b" not in table


def test_without_an_operation_there_are_no_stats(env: dict[str, str]) -> None:
    done = scaleout(env, "stats")

    assert (done.code, done.out, done.err) == (0, "", "no operation has ended here yet\n")
    assert scaleout(env, "stats", "--json").json() == []
