"""Meters on a real server: what counts, from when, until when, and that what has no room is refused."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tasks.ledger.change_set import Changes, Committed
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Allocation, Meter, Operation, Share, State
from tasks.ledger.usage_counters import Entry, Reading, Within
from tasks.runtime.clock import HandClock
from tasks.state_machine.next_step import answered_too_late
from tests.support.records import operation as an_operation
from tests.support.records import request as a_request

HOUR = ("account", 3_600)
OF_A = ("producer:a", 3_600)
METERS = (
    Meter(scope="account", window_s=3_600),
    Meter(scope="producer:a", window_s=3_600, producer="a"),
)


def within(nodes: int, most: int) -> Changes:
    return Changes(within=[Within(*HOUR, nodes, most)])


def counted(name: str, nodes: int, at: int | None) -> Changes:
    return Changes(entries=[Entry(*HOUR, name, nodes, at, enters=True)])


async def used(ledger: Ledger, *meter: Any) -> int:
    (reading,) = await ledger.readings([meter or HOUR])
    return reading.used


def planned(**more: Any) -> Operation:
    """Seven nodes for producer a, three for nobody in particular."""
    given = {"state": State.PLANNED, "meters": METERS, "version": 0, **more}
    allocations = (
        Allocation(request_id="r-1", node_count=7, requested_by="a"),
        Allocation(request_id="r-2", node_count=3),
    )
    return an_operation(**given).model_copy(update={"allocations": allocations})


async def write(ledger: Ledger, operation: Operation, **update: Any) -> Operation:
    """Write the operation in its next state; gives it as it can be written again."""
    changed = operation.model_copy(update=update)
    changes = Changes()
    changes.put(changed)
    assert await ledger.commit(changes) is Committed.OK
    return changed.model_copy(update={"version": changed.version + 1})


async def test_a_step_is_applied_if_its_nodes_fit_and_not_at_all_if_they_do_not(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    await ledger.commit(counted("op-1", 60, clock.now_ms()))
    full = within(41, 100)
    full.put(a_request(version=0))

    assert await ledger.commit(full) is Committed.OVER
    assert server.exists("scaleout:request:r-1") == 0
    assert await ledger.commit(within(40, 100)) is Committed.OK


async def test_of_two_steps_that_fit_alone_only_the_first_is_applied(
    ledger: Ledger, clock: HandClock
) -> None:
    def plan(name: str) -> Changes:
        changes = within(60, 100)
        changes.entries.append(Entry(*HOUR, name, 60, None, enters=True))
        return changes

    first, second = plan("op-1"), plan("op-2")

    assert await ledger.commit(first) is Committed.OK
    assert await ledger.commit(second) is Committed.OVER
    assert await used(ledger) == 60


async def test_nodes_leave_the_window_when_it_has_passed_since_their_job_was_known(
    ledger: Ledger, clock: HandClock
) -> None:
    operation = await write(ledger, planned())
    clock.advance(7_200)
    assert await used(ledger) == 10
    assert await ledger.readings([HOUR, OF_A]) == [Reading(10), Reading(7)]

    operation = await write(ledger, operation, state=State.RUNNING, job_id="j-1", sent_at=clock.now_ms())
    known_at = clock.now_ms()
    clock.advance(3_599)
    # Written again later, it still counts from then.
    await write(ledger, operation, tries=1)
    assert await ledger.readings([HOUR]) == [Reading(10, ((known_at + 3_600_000, 10),))]

    clock.advance(1)
    assert await used(ledger) == 0
    assert await ledger.commit(within(100, 100)) is Committed.OK


@pytest.mark.parametrize("state", [State.REFUSED, State.ABSENT, State.ABANDONED])
async def test_what_was_not_carried_out_is_given_back_once(ledger: Ledger, state: State) -> None:
    await write(ledger, planned())
    other = planned(operation_id="op-2")
    operation = await write(ledger, other)

    await write(ledger, operation, state=state)

    assert await used(ledger) == 10
    assert await used(ledger, *OF_A) == 7


@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT, State.HELD])
async def test_what_may_have_been_carried_out_counts_for_as_long_as_that_is_so(
    ledger: Ledger, clock: HandClock, state: State
) -> None:
    operation = await write(ledger, planned())
    await write(ledger, operation, state=state)
    clock.advance(40 * 86_400)

    assert await used(ledger) == 10
    assert await ledger.commit(within(1, 10)) is Committed.OVER


async def test_of_a_failed_job_only_what_came_counts_for_whom_it_was_given(ledger: Ledger) -> None:
    operation = await write(ledger, planned())
    operation = await write(ledger, operation, state=State.RUNNING, job_id="j-1")
    await write(ledger, operation, state=State.FAILED, nodes_added=8)

    assert await used(ledger) == 8
    assert await used(ledger, *OF_A) == 7


async def test_a_job_that_turns_up_when_its_operation_has_ended_counts_all_the_same(
    ledger: Ledger,
) -> None:
    operation = await write(ledger, planned())
    ended = await write(ledger, operation, state=State.ABSENT)
    assert await used(ledger) == 0

    changes = answered_too_late(
        ended, await ledger.cluster("ehpc-a"), job_id="j-9", now=ledger.clock.now_ms()
    )
    assert await ledger.commit(changes) is Committed.OK

    assert await used(ledger) == 10
    assert await used(ledger, *OF_A) == 7


async def test_what_was_cancelled_before_the_sending_does_not_count(ledger: Ledger) -> None:
    operation = await write(ledger, planned())
    await write(ledger, operation, state=State.SUBMITTING, allocations=operation.allocations[1:])

    assert await used(ledger) == 3
    assert await used(ledger, *OF_A) == 0


async def test_a_script_sent_twice_counts_once(ledger: Ledger, server: redis.Redis) -> None:
    operation = await write(ledger, planned())
    before = server.hgetall("scaleout:meter:3600:account:nodes")

    # The same content at its next version: what a repeated step would write.
    await write(ledger, operation)

    assert server.hgetall("scaleout:meter:3600:account:nodes") == before == {"op-1": "10", "=": "10"}


async def test_what_is_counted_of_no_meter_is_counted_nowhere(ledger: Ledger, server: redis.Redis) -> None:
    await write(ledger, planned(meters=()))

    assert server.keys("scaleout:meter:*") == []


async def test_a_meter_goes_with_the_last_that_counts_on_it(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    operation = await write(ledger, planned())
    assert server.ttl("scaleout:meter:3600:account:nodes") == -1

    operation = await write(ledger, operation, state=State.RUNNING, job_id="j-1")
    assert 3_590 < server.ttl("scaleout:meter:3600:account:nodes") <= 3_600
    assert 3_590 < server.ttl("scaleout:meter:3600:account:times") <= 3_600

    await write(ledger, operation, state=State.FAILED, nodes_added=0)
    assert server.keys("scaleout:meter:*") == []


async def test_a_request_is_in_flight_until_all_its_nodes_are_settled(
    ledger: Ledger, server: redis.Redis
) -> None:
    flight = Meter(scope="cluster:ehpc-a", window_s=0)
    request = a_request(nodes=10, version=0, meter=flight)

    async def put(**update: Any) -> int:
        nonlocal request
        request = request.model_copy(update=update)
        changes = Changes()
        changes.put(request)
        assert await ledger.commit(changes) is Committed.OK
        request = request.model_copy(update={"version": request.version + 1})
        return await used(ledger, "cluster:ehpc-a", 0)

    share = Share(operation_id="op-1", node_count=7, state=State.RUNNING)
    assert await put() == 10
    assert await put(wanted=3, shares=(share,)) == 10
    done = share.model_copy(update={"state": State.SUCCEEDED})
    assert await put(wanted=3, shares=(done,)) == 3
    assert await put(wanted=0) == 0
    assert server.keys("scaleout:meter:*") == []


async def test_a_meter_that_is_never_read_does_not_grow(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    for number in range(20):
        await ledger.commit(counted(f"op-{number}", 1, clock.now_ms()))
        clock.advance(1_000)

    assert server.zcard("scaleout:meter:3600:account:times") == 4
    assert server.hlen("scaleout:meter:3600:account:nodes") == 5
