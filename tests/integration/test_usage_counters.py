"""Usage counters on a real server: what counts, from when, and until when."""

from typing import Any

import pytest
import redis

from tasks.ledger.change_set import ChangeSet, CommitResult
from tasks.ledger.ledger import Ledger
from tasks.ledger.record_values import Allocation, Assignment, State
from tasks.ledger.records import Operation
from tasks.ledger.usage_entries import LimitCheck, UsageEntry
from tasks.limits.usage import Usage, UsageCounter
from tasks.runtime.clock import HandClock
from tasks.state_machine.acceptance import late_response
from tests.support.records import operation as an_operation
from tests.support.records import request as a_request
from tests.support.records import snapshot, with_entries

# Records are written by hand here, ended without the step that gives them a time to live.
pytestmark = pytest.mark.permanent_keys("scaleout:request:*", "scaleout:operation:*", "scaleout:history:*")

HOUR = UsageCounter("account", 3_600)
OF_A = UsageCounter("producer:a", 3_600, producer="a")
FLIGHT = UsageCounter("cluster:ehpc-a", 0)


def within(nodes: int, maximum: int) -> ChangeSet:
    return with_entries(LimitCheck("account", 3_600, nodes, maximum))


def counted(name: str, nodes: int, at: int | None) -> ChangeSet:
    return with_entries(UsageEntry("account", 3_600, name, nodes, at, enters=True))


async def used(ledger: Ledger, counter: UsageCounter = HOUR) -> int:
    (usage,) = await ledger.usage([counter])
    return usage.used


def planned(**more: Any) -> Operation:
    """Seven nodes for producer a, three for nobody in particular."""
    given = {"state": State.PLANNED, "counters": (HOUR, OF_A), "version": 0, **more}
    allocations = (
        Allocation(request_id="r-1", node_count=7, requested_by="a"),
        Allocation(request_id="r-2", node_count=3),
    )
    return an_operation(**given).model_copy(update={"allocations": allocations})


async def write(ledger: Ledger, operation: Operation, **update: Any) -> Operation:
    """Write the operation in its next state; gives it as it can be written again."""
    changed = operation.model_copy(update=update)
    changes = ChangeSet()
    changes.write(changed)
    assert await ledger.commit(changes) is CommitResult.OK
    return changed.model_copy(update={"version": changed.version + 1})


async def test_a_step_is_applied_only_if_its_nodes_fit(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    await ledger.commit(counted("op-1", 60, clock.now_ms()))
    full = within(41, 100)
    full.write(a_request(version=0))

    assert await ledger.commit(full) is CommitResult.OVER_LIMIT
    assert server.exists("scaleout:request:r-1") == 0
    assert await ledger.commit(within(40, 100)) is CommitResult.OK


async def test_of_two_steps_that_fit_alone_only_the_first_is_applied(
    ledger: Ledger, clock: HandClock
) -> None:
    def plan(name: str) -> ChangeSet:
        changes = within(60, 100)
        changes.add(UsageEntry("account", 3_600, name, 60, None, enters=True))
        return changes

    first, second = plan("op-1"), plan("op-2")

    assert await ledger.commit(first) is CommitResult.OK
    assert await ledger.commit(second) is CommitResult.OVER_LIMIT
    assert await used(ledger) == 60


async def test_nodes_leave_the_window_once_it_has_passed(ledger: Ledger, clock: HandClock) -> None:
    operation = await write(ledger, planned())
    clock.advance(7_200)
    assert await used(ledger) == 10
    assert await ledger.usage([HOUR, OF_A]) == [Usage(10), Usage(7)]

    operation = await write(ledger, operation, state=State.RUNNING, job_id="j-1", sent_at=clock.now_ms())
    known_at = clock.now_ms()
    clock.advance(3_599)
    # Written again later, it still counts from then.
    await write(ledger, operation, attempts=1)
    assert await ledger.usage([HOUR]) == [Usage(10, ((known_at + 3_600_000, 10),))]

    clock.advance(1)
    assert await used(ledger) == 0
    assert await ledger.commit(within(100, 100)) is CommitResult.OK


@pytest.mark.parametrize("state", [State.REFUSED, State.NOT_EXECUTED, State.ABANDONED])
async def test_what_was_not_executed_is_given_back_once(ledger: Ledger, state: State) -> None:
    await write(ledger, planned())
    other = planned(operation_id="op-2")
    operation = await write(ledger, other)

    await write(ledger, operation, state=state)

    assert await used(ledger) == 10
    assert await used(ledger, OF_A) == 7


@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT, State.HELD])
async def test_what_may_have_been_executed_counts_as_long_as_that_is_so(
    ledger: Ledger, clock: HandClock, state: State
) -> None:
    operation = await write(ledger, planned())
    await write(ledger, operation, state=state)
    clock.advance(40 * 86_400)

    assert await used(ledger) == 10
    assert await ledger.commit(within(1, 10)) is CommitResult.OVER_LIMIT


async def test_of_a_failed_job_only_the_nodes_that_came_count(ledger: Ledger) -> None:
    operation = await write(ledger, planned())
    operation = await write(ledger, operation, state=State.RUNNING, job_id="j-1")
    await write(ledger, operation, state=State.FAILED, nodes_added=8)

    assert await used(ledger) == 8
    assert await used(ledger, OF_A) == 7


async def test_a_job_found_after_its_operation_ended_is_counted(
    ledger: Ledger,
) -> None:
    operation = await write(ledger, planned())
    ended = await write(ledger, operation, state=State.NOT_EXECUTED)
    assert await used(ledger) == 0

    changes = late_response(
        snapshot(ended, at=await ledger.cluster("ehpc-a")), job_id="j-9", now=ledger.clock.now_ms()
    )
    assert await ledger.commit(changes) is CommitResult.OK

    assert await used(ledger) == 10
    assert await used(ledger, OF_A) == 7


async def test_what_was_cancelled_before_submission_does_not_count(ledger: Ledger) -> None:
    operation = await write(ledger, planned())
    await write(ledger, operation, state=State.SUBMITTING, allocations=operation.allocations[1:])

    assert await used(ledger) == 3
    assert await used(ledger, OF_A) == 0


async def test_a_script_sent_twice_counts_once(ledger: Ledger, server: redis.Redis) -> None:
    operation = await write(ledger, planned())
    before = server.hgetall("scaleout:meter:3600:account:nodes")

    # The same content at its next version: what a repeated step would write.
    await write(ledger, operation)

    assert server.hgetall("scaleout:meter:3600:account:nodes") == before == {"op-1": "10", "=": "10"}


async def test_an_operation_without_counters_counts_nowhere(ledger: Ledger, server: redis.Redis) -> None:
    await write(ledger, planned(counters=()))

    assert server.keys("scaleout:meter:*") == []


async def test_a_counter_goes_with_its_last_entry(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    operation = await write(ledger, planned())
    assert server.ttl("scaleout:meter:3600:account:nodes") == -1

    operation = await write(ledger, operation, state=State.RUNNING, job_id="j-1")
    # A week longer than the window: a server whose clock jumps must not forget what counts.
    a_week_more = 3_600 + 7 * 86_400
    assert a_week_more - 10 < server.ttl("scaleout:meter:3600:account:nodes") <= a_week_more
    assert a_week_more - 10 < server.ttl("scaleout:meter:3600:account:times") <= a_week_more

    await write(ledger, operation, state=State.FAILED, nodes_added=0)
    assert server.keys("scaleout:meter:*") == []


async def test_a_request_is_in_flight_until_all_its_nodes_are_settled(
    ledger: Ledger, server: redis.Redis
) -> None:
    request = a_request(nodes=10, version=0, counter=FLIGHT)

    async def write_request(**update: Any) -> int:
        nonlocal request
        request = request.model_copy(update=update)
        changes = ChangeSet()
        changes.write(request)
        assert await ledger.commit(changes) is CommitResult.OK
        request = request.model_copy(update={"version": request.version + 1})
        return await used(ledger, FLIGHT)

    part = Assignment(operation_id="op-1", node_count=7, state=State.RUNNING)
    assert await write_request() == 10
    assert await write_request(unassigned_nodes=3, assignments=(part,)) == 10
    done = part.model_copy(update={"state": State.SUCCEEDED})
    assert await write_request(unassigned_nodes=3, assignments=(done,)) == 3
    assert await write_request(unassigned_nodes=0) == 0
    assert server.keys("scaleout:meter:*") == []


async def test_a_counter_that_is_never_read_does_not_grow(
    ledger: Ledger, server: redis.Redis, clock: HandClock
) -> None:
    for number in range(20):
        await ledger.commit(counted(f"op-{number}", 1, clock.now_ms()))
        clock.advance(1_000)

    assert server.zcard("scaleout:meter:3600:account:times") == 4
    assert server.hlen("scaleout:meter:3600:account:nodes") == 5
