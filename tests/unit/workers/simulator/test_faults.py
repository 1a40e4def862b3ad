"""Each fault over HTTP: what the caller meets, and what was really made behind its back."""

import asyncio
from collections.abc import Callable
from typing import Any, get_args

import aiohttp
import pytest

from tests.support.simulator_calls import Caller
from workers.simulator.faults import OF_THE_JOB, Fault, FaultKind, FaultPlan
from workers.simulator.wire_faults import HUGE

OF_THE_WIRE = sorted(set(get_args(FaultKind)) - OF_THE_JOB - {"latency"})
MADE = pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])

BROKEN: dict[str, type[Exception]] = {
    "drop": aiohttp.ServerDisconnectedError,
    "reset": aiohttp.ClientOSError,
    "cut_off": aiohttp.ClientPayloadError,
    "hang": TimeoutError,
}
ANSWERED: dict[str, tuple[dict[str, Any], int, Callable[[bytes], bool]]] = {
    "ret_code": ({"code": 5100, "message": "busy"}, 200, lambda body: b'"ret_code": 5100' in body),
    "html": ({}, 502, lambda body: body.startswith(b"<html>")),
    "empty": ({}, 200, lambda body: body == b""),
    "not_json": ({}, 200, lambda body: body == b"OK"),
    "no_job_id": ({}, 200, lambda body: b'"ret_code": 0' in body and b"job_id" not in body),
    "http_status": ({"status": 503}, 503, lambda body: body == b"{}"),
    "redirect": ({}, 307, lambda body: body == b""),
    "huge": ({}, 200, lambda body: len(body) == HUGE),
}


async def check_truth(caller: Caller, kind: str, *, made: bool) -> None:
    """One call came in, and exactly what `made` says was made of it."""
    truth = await caller.truth()
    (call,) = truth["add_nodes_calls"]
    assert (call["answer"], call["cluster_id"]) == (kind, "ehpc-a")
    assert (call["job_id"] is not None) is made
    assert [job["asked"] for job in truth["jobs"]] == [3] * made
    assert await caller.nodes() == 3 * made


def test_every_fault_of_the_wire_is_tried_here() -> None:
    assert sorted([*BROKEN, *ANSWERED]) == OF_THE_WIRE


@MADE
@pytest.mark.parametrize("kind", BROKEN)
async def test_a_reply_that_never_comes_says_nothing_of_what_was_made(
    caller: Caller, kind: str, made: bool
) -> None:
    await caller.fault(kind, made=made)

    with pytest.raises(BROKEN[kind]):
        async with asyncio.timeout(0.6 if kind == "hang" else 10):
            await caller.send_add_nodes(count=3)

    await check_truth(caller, kind, made=made)


@MADE
@pytest.mark.parametrize("kind", ANSWERED)
async def test_a_reply_that_is_no_answer_says_nothing_of_what_was_made(
    caller: Caller, kind: str, made: bool
) -> None:
    fields, status, looks_right = ANSWERED[kind]
    await caller.fault(kind, made=made, **fields)

    reply = await caller.send_add_nodes(count=3)

    assert (reply.status, looks_right(reply.body)) == (status, True)
    assert "Date" in reply.headers
    await check_truth(caller, kind, made=made)


@MADE
async def test_latency_delays_the_answer_and_changes_nothing(caller: Caller, made: bool) -> None:
    await caller.fault("latency", seconds=0.2, made=made)
    loop = asyncio.get_running_loop()
    began = loop.time()

    answer = await caller.add_nodes(count=3)

    assert (answer["ret_code"], loop.time() - began >= 0.2) == (0, True)
    assert await caller.nodes() == 3


async def test_a_redirect_leads_back_to_the_very_same_signed_call(caller: Caller) -> None:
    await caller.fault("redirect")

    reply = await caller.send_add_nodes()

    assert reply.headers["Location"] == reply.url.raw_path_qs


async def test_retry_after_is_sent_along_with_a_status(caller: Caller) -> None:
    await caller.fault("http_status", status=429, retry_after="7")

    reply = await caller.send_add_nodes()

    assert (reply.status, reply.headers["Retry-After"]) == (429, "7")


async def test_a_hanging_call_does_not_keep_the_simulator_from_stopping(caller: Caller) -> None:
    await caller.fault("hang")
    hanging = asyncio.create_task(caller.send_add_nodes())
    while not (await caller.truth())["calls"]["total"]:
        pass  # it has not arrived yet

    async with asyncio.timeout(5):
        await caller.running.stop()

    with pytest.raises(aiohttp.ClientError):
        await hanging


async def test_a_call_that_is_refused_anyway_meets_no_fault(caller: Caller) -> None:
    await caller.add_nodes()
    await caller.fault("drop", made=True)

    assert (await caller.add_nodes())["ret_code"] == 1400


@MADE
async def test_a_lost_listing_is_one_call_that_counts(caller: Caller, made: bool) -> None:
    await caller.fault("drop", action="operation", made=made)

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await caller.get("operation")

    assert (await caller.get("operation"))["ret_code"] == 0
    assert (await caller.truth())["calls"]["by_action"] == {"operation": 2}


async def test_a_job_can_fail_with_some_of_its_nodes(caller: Caller) -> None:
    await caller.fault("fail_job", nodes_made=2, code=5200)
    job_id = (await caller.add_nodes(count=5))["job_id"]
    caller.clock.now += 10

    (row,) = (await caller.get("operation", job_ids=job_id))["job_set"]

    assert (row["status"], row["error_codes"]) == ("failed", "5200")
    assert len(row["resource_ids"].split()) == 3
    assert await caller.nodes() == 2


async def test_a_job_can_take_another_time(caller: Caller) -> None:
    await caller.fault("job_duration", seconds=100)
    await caller.add_nodes()
    caller.clock.now += 99

    (job,) = (await caller.truth())["jobs"]

    assert job["status"] == "pending"
    assert await caller.nodes() == 1


async def test_a_job_can_show_an_unknown_status(caller: Caller) -> None:
    await caller.fault("unknown_status")
    await caller.add_nodes()
    caller.clock.now += 3
    (row,) = (await caller.get("operation"))["job_set"]
    caller.clock.now += 7
    (later,) = (await caller.get("operation"))["job_set"]

    assert (row["status"], later["status"]) == ("scaling", "successful")


async def test_a_job_can_stay_out_of_the_log_and_its_nodes_come(caller: Caller) -> None:
    await caller.fault("never_listed")
    job_id = (await caller.add_nodes())["job_id"]
    caller.clock.now += 3600

    assert (await caller.get("operation"))["total_count"] == 0
    assert (await caller.get("operation", job_ids=job_id))["total_count"] == 0
    assert await caller.nodes() == 1


async def test_a_wire_fault_and_a_job_fault_meet_the_same_call(caller: Caller) -> None:
    await caller.fault("fail_job", nodes_made=1)
    await caller.fault("drop", made=True)

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await caller.send_add_nodes(count=3)

    assert await caller.nodes() == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kind": "explode"}, "kind: Input should be"),
        ({"kind": "drop", "often": True}, "often"),
        ({"action": "addNodes"}, "kind"),
        ([{"kind": "drop"}, {"kind": "explode"}], "1.kind: Input should be"),
    ],
)
async def test_an_unknown_fault_is_refused_and_none_of_the_list_is_taken(
    caller: Caller, content: Any, said: str
) -> None:
    reply = await caller.control("faults", content)

    assert (reply.status, said in reply.body.decode()) == (400, True)
    assert caller.running.api.faults.faults == []
    assert (await caller.add_nodes())["ret_code"] == 0


async def test_faults_can_be_given_as_a_list_and_taken_away(caller: Caller) -> None:
    await caller.control("faults", [{"kind": "drop", "times": None}, {"kind": "html", "times": None}])
    async with caller.session.delete(f"{caller.running.url}/_sim/faults") as reply:
        assert await reply.json() == {"faults": 0}

    assert (await caller.add_nodes())["ret_code"] == 0


def drawn(*faults: Fault, calls: int = 5, seed: int = 0) -> list[str | None]:
    """Return the kinds of fault that addNodes calls for ehpc-a meet."""
    plan = FaultPlan(seed)
    plan.faults += faults
    met = [plan.draw("addNodes", "ehpc-a", of_the_job=False) for _ in range(calls)]
    return [fault.kind if fault else None for fault in met]


def test_a_fault_meets_one_call_or_as_many_as_it_says() -> None:
    assert drawn(Fault("drop"), calls=3) == ["drop", None, None]
    assert drawn(Fault("drop", times=2), calls=3) == ["drop", "drop", None]
    assert drawn(Fault("drop", times=None), calls=3) == ["drop"] * 3
    assert drawn(Fault("drop", times=0), calls=1) == [None]


def test_a_fault_can_leave_some_calls_alone_first() -> None:
    assert drawn(Fault("drop", skip=2), calls=4) == [None, None, "drop", None]


def test_one_fault_comes_after_the_other() -> None:
    assert drawn(Fault("drop"), Fault("html"), calls=3) == ["drop", "html", None]


def test_a_fault_meets_its_action_and_its_cluster_only() -> None:
    assert drawn(Fault("drop", action="operation"), calls=1) == [None]
    assert drawn(Fault("drop", action="*"), calls=1) == ["drop"]
    assert drawn(Fault("drop", cluster_id="ehpc-b"), calls=1) == [None]
    assert drawn(Fault("drop", cluster_id="ehpc-a"), calls=1) == ["drop"]


def test_what_is_drawn_by_chance_is_the_same_for_the_same_seed() -> None:
    first, again, other = (
        drawn(Fault("drop", probability=0.5, times=None), calls=100, seed=seed) for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other
    assert 30 < first.count("drop") < 70


def test_a_call_meets_a_job_fault_only_if_a_job_is_made() -> None:
    plan = FaultPlan(0)
    plan.faults.append(Fault("fail_job"))

    assert plan.draw("addNodes", None, of_the_job=False) is None
    assert plan.draw("addNodes", None, of_the_job=True) is not None
