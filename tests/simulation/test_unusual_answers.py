"""What the provider seldom says or does, one thing at a time."""

import asyncio

import pytest
import redis

from tests.simulation.calm_world import Prepare, live, operations, the_request
from tests.simulation.world import World


def call_outcomes(*names: str) -> Prepare:
    return lambda world: world.call_outcomes.extend(names)


@pytest.mark.parametrize(
    "call_outcome", ["refused 1200", "refused 2000", "quota", "refused 1300", "refused 1400", "refused 5300"]
)
def test_what_was_refused_for_now_is_requested_again_later(server: redis.Redis, call_outcome: str) -> None:
    world = live(server, call_outcomes(call_outcome, call_outcome))

    assert the_request(world).status == "succeeded"
    assert [operation.state for operation in operations(world)] == ["refused", "refused", "succeeded"]


def test_a_refused_account_pauses_every_cluster_and_one_tries_again(server: redis.Redis) -> None:
    def two(world: World) -> None:
        world.call_outcomes.extend(["refused 1200"] * 3)
        world.send("b", cluster_id="ehpc-2", node_count=1)

    world = live(server, two)

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}


@pytest.mark.parametrize("call_outcome", ["refused 1100", "refused 2400", "refused 3300"])
def test_what_is_refused_for_good_ends_the_request(server: redis.Redis, call_outcome: str) -> None:
    assert the_request(live(server, call_outcomes(call_outcome))).status == "rejected"


@pytest.mark.parametrize(
    ("policy", "status", "nodes"),
    [("wait", "succeeded", 8), ("partial", "succeeded", 8), ("fail", "failed", 0)],
)
def test_a_shortage_goes_by_what_the_request_wishes(
    server: redis.Redis, policy: str, status: str, nodes: int
) -> None:
    world = live(server, call_outcomes("refused 5200"), node_count=8, on_shortage=policy)

    assert (the_request(world).status, the_request(world).nodes_added) == (status, nodes)


def test_a_shortage_at_every_size_leaves_a_partial_request_without_nodes(server: redis.Redis) -> None:
    world = live(server, call_outcomes(*["refused 5200"] * 5), node_count=4, on_shortage="partial")

    assert sorted(operation.node_count for operation in operations(world)) == [1, 2, 4]
    assert the_request(world).status == "failed"


def test_a_job_that_no_listing_shows_is_held_at_last(server: redis.Redis) -> None:
    def hidden(world: World) -> None:
        world.call_outcomes.append("never listed")

        def show() -> None:
            for job in world.provider.cloud.jobs.values():
                job.listed = True

        decide = world.decide

        async def shown(operation_id: str) -> None:
            show()
            await decide(operation_id)

        world.decide = shown  # type: ignore[method-assign]

    world = live(server, hidden, deadline_s=100)

    assert the_request(world).status == "timed_out"
    assert any("a person decides" in line for line in world.trace)
    assert operations(world)[0].nodes_added == 2


def test_a_status_that_is_unknown_counts_as_still_going(server: redis.Redis) -> None:
    assert the_request(live(server, call_outcomes("odd status"))).status == "succeeded"


def test_a_job_under_another_action_than_expected_is_followed_all_the_same(server: redis.Redis) -> None:
    def other(world: World) -> None:
        world.settings = world.settings.model_copy(update={"add_nodes_job_action": "Other"})
        world.workers[0].ctx.settings = world.settings

    assert the_request(live(server, other)).status == "succeeded"


def test_nothing_is_sent_while_the_clocks_disagree(server: redis.Redis) -> None:
    def skewed(world: World) -> None:
        world.skew_s = -7.0

    world = live(server, skewed, deadline_s=100)

    assert the_request(world).status == "timed_out"
    assert world.provider.sendings == []


def test_a_request_for_another_zone_than_the_clusters_is_rejected(server: redis.Redis) -> None:
    def then_another(world: World) -> None:
        go_on = world.continue_until_idle
        first = True

        async def again() -> None:
            nonlocal first
            await go_on()
            if first:
                first = False
                world.send("b", cluster_id="ehpc-1", node_count=1, zone="jn1b")
                await go_on()

        world.continue_until_idle = again  # type: ignore[method-assign]

    world = live(server, then_another)

    assert world.invariants.requests["b"].status == "rejected"
    assert "zone jn1a" in str(world.invariants.requests["b"].last_reason)


def test_with_a_small_quota_everything_is_done_more_slowly(server: redis.Redis) -> None:
    async def history() -> World:
        world = World(server, quota_calls=20)
        for number in range(8):
            world.send(f"r-{number}", cluster_id=f"ehpc-{number}", node_count=1, deadline_s=86_400 * 5)
        await world.run()
        return world

    world = asyncio.run(history())

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
    assert world.provider.quota.most_in_a_window <= 20


def test_a_job_whose_nodes_cannot_be_listed_is_held_when_unwanted(
    server: redis.Redis,
) -> None:
    def prepare(world: World) -> None:
        world.call_outcomes.append("job fails")
        world.provider.nodes_refused = True

    # The person insists on the job, and it ends with the node that the log names.
    world = live(server, prepare, deadline_s=600)

    assert "cannot be listed" in str(server.lrange("scaleout:history:a", 0, -1))
    assert [(one.state, one.nodes_added) for one in operations(world)] == [("failed", 1)]


def test_a_doubt_whose_log_is_refused_permanently_is_held_when_unwanted(
    server: redis.Redis,
) -> None:
    def prepare(world: World) -> None:
        def lost() -> str:
            # The cluster is deleted just then.
            world.provider.log_refused = True
            return "lost on the way"

        world.fate_of_sending = lost  # type: ignore[method-assign]

    world = live(server, prepare, deadline_s=600)

    assert the_request(world).status == "timed_out"
    assert [operation.state for operation in operations(world)] == ["not_executed"]
    assert "cannot be found out" in str(operations(world)[0].held_reason)
    assert any("a person decides" in line for line in world.trace)


@pytest.mark.parametrize(("later_s", "reaches_back"), [(600, True), (14_400, False)])
def test_baselines_reach_back_to_a_doubt_as_long_as_it_may_matter(
    server: redis.Redis, later_s: int, reaches_back: bool
) -> None:
    async def history() -> World:
        world = World(server)
        world.send("first", cluster_id="ehpc-1", node_count=1)
        await world.continue_until_idle()
        world.call_outcomes.append("lost on the way")
        world.send("doubtful", cluster_id="ehpc-1", node_count=1)
        await world.continue_until_idle()
        world.clock.advance(later_s)
        world.send("later", cluster_id="ehpc-1", node_count=1)
        await world.run()
        return world

    world = asyncio.run(history())

    doubtful = next(one for one in operations(world) if one.state == "not_executed")
    assert doubtful.sent_at is not None
    asked_at, since = world.provider.cluster_listings[-1]
    assert asked_at - doubtful.sent_at > later_s * 1000
    assert (since.timestamp() * 1000 <= doubtful.sent_at - 70_000) is reaches_back
