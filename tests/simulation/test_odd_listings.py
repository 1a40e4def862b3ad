"""Rows, words and counts that no page of the vendor describes, one at a time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.simulation.calm_world import live, operations, the_request
from tests.simulation.quirks import ODD_ROWS, Counts, Quirks
from tests.simulation.test_schedules import EVERY, FIRST, nodes, policy
from tests.simulation.test_schedules import live as live_by_schedule
from tests.simulation.world import World
from workers.simulator.cloud import Job


def counter(world: World, event: str) -> int:
    return int(world.server.hget("scaleout:counters", event) or 0)


@pytest.mark.parametrize("odd", ODD_ROWS, ids=str)
def test_an_odd_row_of_a_stranger_hides_no_job(server: redis.Redis, odd: Any) -> None:
    def prepare(world: World) -> None:
        world.provider.quirks = Quirks(odd_rows=[odd])
        world.provider.jobs_of_a_page = 100

    world = live(server, prepare)

    assert the_request(world).status == "succeeded"
    unreadable = not isinstance(odd, dict) or odd.get("job_id") is None
    assert counter(world, "rows_unreadable") == int(unreadable)


def test_a_row_that_nobody_can_read_keeps_a_doubt_open_but_no_sending(server: redis.Redis) -> None:
    def prepare(world: World) -> None:
        world.provider.quirks = Quirks(odd_rows_of_cluster=[{"status": "pending"}])
        world.call_outcomes.extend(["fine", "lost on the way"])
        world.send("b", cluster_id="ehpc-1", node_count=1, node_role="login", deadline_s=600)

    world = live(server, prepare, deadline_s=600)

    assert sorted(operation.state for operation in operations(world)) == ["not_executed", "succeeded"]
    doubtful = next(one for one in operations(world) if one.state == "not_executed")
    assert "1 of its rows cannot be read" in str(doubtful.held_reason)
    assert any("a person decides" in line for line in world.trace)


@pytest.mark.parametrize(
    ("word", "status"), [("Cancelled", "failed"), ("ABORTED", "failed"), ("Done", "succeeded")]
)
def test_other_words_for_the_end_of_a_job_end_it(server: redis.Redis, word: str, status: str) -> None:
    ends_as = "failed" if status == "failed" else "successful"

    def prepare(world: World) -> None:
        world.provider.quirks = Quirks(words={ends_as: word})
        world.call_outcomes.append("job fails" if status == "failed" else "fine")

    world = live(server, prepare)

    assert operations(world)[0].state == status
    assert not world.ever_held


def test_a_job_whose_status_stays_unknown_is_held_until_an_operator_insists(server: redis.Redis) -> None:
    def prepare(world: World) -> None:
        world.provider.quirks = Quirks(words={"successful": "archived"})

    world = live(server, prepare, deadline_s=600)

    (operation,) = operations(world)
    assert (operation.state, operation.nodes_added, operation.insisted) == ("failed", 2, True)
    assert "stays in the status" in str(server.lrange("scaleout:history:a", 0, -1))


def test_a_candidate_that_never_ends_is_held_after_the_deadline(server: redis.Redis) -> None:
    def prepare(world: World) -> None:
        world.call_outcomes.append("reply lost")
        world.provider.quirks = Quirks(words={"successful": "archived"})

    world = live(server, prepare, deadline_s=600)

    assert "it does not end" in str(server.lrange("scaleout:history:a", 0, -1))
    assert operations(world)[0].nodes_added == 2


def test_a_candidate_that_is_hidden_later_is_not_proven_absent(server: redis.Redis) -> None:
    """A replica of the log, or a row that is just being changed, does not show it for some minutes."""

    def prepare(world: World) -> None:
        world.call_outcomes.extend(["reply lost", "fine"])
        world.provider.options.job_duration_s = "900"
        # That the log shows this one's job makes its silence count.
        world.send("b", cluster_id="ehpc-2", node_count=1)
        listed, began = world.provider.listed, world.clock.now_ms()

        def hidden(zone: str, start: Any, cluster_id: str | None, job_ids: str | None) -> list[Job]:
            is_hidden = cluster_id == "ehpc-1" and 60_000 < world.clock.now_ms() - began < 300_000
            return [] if is_hidden else listed(zone, start, cluster_id, job_ids)

        world.provider.listed = hidden  # type: ignore[method-assign]

    world = live(server, prepare, deadline_s=7200)

    assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}
    assert any(operation.doubt for operation in operations(world))


def test_a_job_that_the_log_hides_for_longer_than_its_deadline_is_no_persons_matter(
    server: redis.Redis,
) -> None:
    def prepare(world: World) -> None:
        world.call_outcomes.append("never listed")

        async def list_later() -> None:
            await world.clock.sleep(80)
            for job in world.provider.cloud.jobs.values():
                job.listed = True

        world.start(list_later())

    world = live(server, prepare, deadline_s=60)

    assert not world.ever_held
    assert [operation.state for operation in operations(world)] == ["succeeded"]


def test_a_node_that_the_log_names_twice_is_in_one_outcome(server: redis.Redis) -> None:
    def prepare(world: World) -> None:
        world.send("b", cluster_id="ehpc-1", node_count=2, node_role="login")
        row = world.provider.row

        def with_nodes_of_the_first(job: Job) -> dict[str, Any]:
            first = next(iter(world.provider.cloud.jobs.values()))
            named = {"resource_ids": " ".join([job.cluster_id, *first.node_ids])}
            return row(job) | (named if row(job)["status"] == "successful" else {})

        world.provider.row = with_nodes_of_the_first  # type: ignore[method-assign]

    world = live(server, prepare)

    first, second = (set(operation.node_ids) for operation in operations(world))
    assert (len(first), len(second)) == (2, 2)
    assert not first & second


@pytest.mark.parametrize("counts", ["the page", "without filters", "not at all", "as text"])
@pytest.mark.parametrize("fate", ["fine", "reply lost", "lost on the way"])
def test_nothing_is_bought_twice_whatever_the_provider_counts(
    server: redis.Redis, counts: Counts, fate: str
) -> None:
    def prepare(world: World) -> None:
        world.provider.quirks = Quirks(counts=counts)
        world.send("other", cluster_id="ehpc-1", node_count=1, node_role="login", deadline_s=1200)
        world.call_outcomes.extend(["fine", fate])

    world = live(server, prepare, deadline_s=1200)

    assert world.bought_twice() == 0
    assert all(operation.ended for operation in operations(world))
    if fate == "fine":
        assert not world.ever_held
        assert {request.status for request in world.invariants.requests.values()} == {"succeeded"}


def test_jobs_behind_a_full_page_are_found_although_the_count_is_that_of_the_page(
    server: redis.Redis,
) -> None:
    """The doubtful job is on the second page of its cluster's log."""

    async def history() -> World:
        world = World(server)
        world.provider.jobs_of_a_page = 100
        world.provider.quirks = Quirks(counts="the page")
        world.send("first", cluster_id="ehpc-1", node_count=1)
        await world.continue_until_idle()
        cluster = world.provider.cloud.clusters["ehpc-1"]
        for _ in range(100):
            job = world.provider.cloud.start_job(
                cluster, "HpcOther", "compute", 1, world.provider.cloud.plan_job()
            )
            job.made, job.node_ids, job.ends_at = 0, [], job.created_at
        world.advance(20_000)
        world.call_outcomes.append("reply lost")
        world.send("a", cluster_id="ehpc-1", node_count=5)
        await world.run()
        return world

    world = asyncio.run(history())

    assert world.bought_twice() == 0
    assert world.lost() == 0


def test_nodes_that_are_listed_late_are_counted_all_the_same(server: redis.Redis) -> None:
    def prepare(world: World) -> None:
        world.provider.quirks = Quirks(node_lag_s=8)
        world.call_outcomes.append("job fails")

    world = live(server, prepare, on_shortage="fail")

    assert the_request(world).nodes_added == 1


def test_a_job_id_that_another_operation_owns_is_a_doubt(server: redis.Redis) -> None:
    def prepare(world: World) -> None:
        world.call_outcomes.extend(["fine", "names another job"])
        world.send("b", cluster_id="ehpc-2", node_count=3)

    world = live(server, prepare)

    assert sorted(request.nodes_added for request in world.invariants.requests.values()) == [2, 3]
    assert any(operation.doubt for operation in operations(world))


@pytest.mark.parametrize("message", ["QuotaExceeded", "node quota of API"])
def test_an_unclear_quota_is_one_of_resources_if_calls_are_granted(server: redis.Redis, message: str) -> None:
    def prepare(world: World) -> None:
        world.refusal_message = message
        world.call_outcomes.extend(["refused 2500"] * 2)

    world = live(server, prepare)

    assert the_request(world).status == "succeeded"
    assert {operation.reason.kind for operation in operations(world) if operation.reason} == {"shortage"}
    assert not server.exists("scaleout:quota:exhausted")


@pytest.mark.parametrize("message", ["集群忙", "PermissionDenied, cluster is creating", "PermissionDenied"])
def test_a_denial_while_a_change_is_under_way_is_waited_for(server: redis.Redis, message: str) -> None:
    async def history() -> World:
        world = World(server)
        world.refusal_message = message
        world.send("first", cluster_id="ehpc-1", node_count=1)
        await world.continue_until_idle()
        job = world.provider.cloud.foreign_job("ehpc-1", "jn1a", 3, "HpcOther")
        job.created_at -= 60
        job.ends_at += 60
        world.call_outcomes.append("refused 1400")
        world.send("a", cluster_id="ehpc-1", node_count=5)
        await world.run()
        return world

    world = asyncio.run(history())

    assert the_request(world).status == "succeeded"


def test_the_first_doubt_of_a_zone_trusts_a_foreign_job_of_our_action(server: redis.Redis) -> None:
    async def history() -> World:
        world = World(server)
        other = world.provider.cloud._cluster("ehpc-9", "jn1a")
        world.provider.cloud.start_job(
            other, "HpcClusterAddClusterNodes", "compute", 1, world.provider.cloud.plan_job()
        )
        world.call_outcomes.append("lost on the way")
        world.send("a", cluster_id="ehpc-1", node_count=5)
        await world.continue_until_idle()
        assert not server.zcard("scaleout:held")
        await world.run()
        return world

    world = asyncio.run(history())

    assert (the_request(world).status, world.ever_held) == ("succeeded", 0)


def test_a_cluster_that_does_not_exist_ends_the_request_at_once(server: redis.Redis) -> None:
    def prepare(world: World) -> None:
        world.provider.log_refused = True
        world.call_outcomes.append("refused 2100")

    world = live(server, prepare)

    request = the_request(world)
    assert (request.status, request.last_reason and request.last_reason.code) == ("rejected", 2100)
    assert (request.finished_at or 0) - request.accepted_at < 60_000


def ensure(server: redis.Redis, folder: Path, quirks: Quirks, *others: dict[str, Any]) -> World:
    """Eight nodes, looked after every five minutes for an hour."""
    return live_by_schedule(server, policy_for_an_hour(folder), *others, quirks=quirks)


def policy_for_an_hour(folder: Path) -> Path:
    keys = {"name": "s", "cluster_id": "ehpc-1", "mode": "ensure", "node_count": 8}
    return policy(folder, {**keys, "not_after": FIRST + EVERY * 12})


@pytest.mark.parametrize(
    ("quirks", "least"),
    [
        (Quirks(role="Compute"), 8),
        (Quirks(role=" COMPUTE "), 8),
        (Quirks(role="kompute"), 8),
        (Quirks(node_status="Running"), 8),
        (Quirks(node_status="creating"), 8),
        (Quirks(node_lag_s=30), 8),
        (Quirks(hides_nodes=True), 8),
        (Quirks(counts="the page"), 8),
        (Quirks(counts="not at all"), 8),
    ],
    ids=repr,
)
def test_mode_ensure_never_buys_twice_what_it_cannot_count(
    server: redis.Redis, tmp_path: Path, quirks: Quirks, least: int
) -> None:
    world = ensure(server, tmp_path, quirks)

    assert nodes(world, "ehpc-1") == least


def test_mode_ensure_replaces_nodes_that_somebody_has_deleted(server: redis.Redis, tmp_path: Path) -> None:
    path = policy_for_an_hour(tmp_path)
    deleted: list[str] = []

    async def history() -> World:
        world = World(server, policy_file=path)

        def delete_three() -> None:
            cloud = world.provider.cloud
            cluster = cloud.clusters.get("ehpc-1")
            if cluster is None or len(cluster.nodes) < 8 or cloud._changing(cluster):
                world.happenings[world.events + 1] = delete_three
                return
            deleted.extend(list(cluster.nodes)[:3])
            body = {"cluster_id": "ehpc-1", "zone": "jn1a", "node_ids": list(deleted)}
            cloud.delete_nodes("jn1a", body, cloud.plan_job())

        world.happenings[1] = delete_three
        await world.run()
        return world

    world = asyncio.run(history())

    assert len(deleted) == 3
    assert nodes(world, "ehpc-1") == 8
    assert (
        sum(world.provider.cloud.jobs[one.job_id].made for one in world.provider.sendings if one.job_id) == 11
    )
