"""Whether more was bought than the policy allows, by the provider's truth, not by what we have counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from config.policy.model import PolicyLimits
from tasks.ledger.record_values import distribute
from tasks.ledger.records import Operation, Request
from workers.simulator.cloud import ADD_NODES, Job

if TYPE_CHECKING:
    from tests.simulation.world import World

HOUR_S, DAY_S = 3_600, 86_400


def broken(
    world: World, operations: Mapping[str, Operation], requests: Mapping[str, Request]
) -> Iterator[str]:
    """What is over a limit of the world's policy, one sentence for each."""
    policy = world.policy
    if policy.limits == PolicyLimits():
        return
    jobs = [job for job in world.provider.cloud.jobs.values() if job.job_action == ADD_NODES]
    for cluster_id in world.provider.cloud.clusters:
        here = [job for job in jobs if job.cluster_id == cluster_id]
        made = sum(job.made for job in here)
        under_way = sum(
            request.unassigned_nodes + sum(part.node_count for part in request.live_assignments)
            for request in requests.values()
            if request.spec is not None and request.spec.cluster_id == cluster_id
        )
        for path, table in policy.limits.tables(cluster_id, None):
            if table.nodes_per_cluster is not None and made > table.nodes_per_cluster:
                yield f"{cluster_id} has {made} nodes, {path} allows {table.nodes_per_cluster}"
            if table.nodes_in_flight_per_cluster is not None and not table.wait:
                most = table.nodes_in_flight_per_cluster
                if under_way > most:
                    yield f"{under_way} nodes are in flight on {cluster_id}, {path} allows {most}"
        if (limits := policy.limits.clusters.get(cluster_id)) is not None:
            bought = [(job.created_at, job.made) for job in here]
            yield from _over(bought, limits.nodes_per_hour, limits.nodes_per_day, f"on {cluster_id}")
    everything = [(job.created_at, job.made) for job in jobs]
    yield from _over(everything, policy.limits.nodes_per_hour, policy.limits.nodes_per_day, "by the account")
    for name, of_producer in policy.limits.producers.items():
        bought = [(job.created_at, _for(name, job, world, operations, requests)) for job in jobs]
        yield from _over(bought, of_producer.nodes_per_hour, of_producer.nodes_per_day, f"by {name}")


def miscounted(world: World, meters: Iterable[str]) -> Iterator[str]:
    """Meters whose sum is not what they are made of."""
    for key in meters:
        nodes = {str(name): int(count) for name, count in world.direct.run("HGETALL", key).items()}
        said = nodes.pop("=", 0)
        if said != sum(nodes.values()) or min(nodes.values(), default=1) < 1:
            yield f"{key} says {said} and is made of {nodes}"
        times = set(world.direct.run("ZRANGE", f"{key.removesuffix(':nodes')}:times", 0, -1))
        if times != set(nodes):
            yield f"{key} has {sorted(nodes)}, and times of {sorted(map(str, times))}"


def in_flight_for_good(world: World) -> Iterator[str]:
    """At the end nothing is in flight."""
    for key in map(str, world.server.keys("scaleout:meter:0:*")):
        yield f"{key} is not empty at the end"


def _over(
    bought: list[tuple[float, int]], per_hour: int | None, per_day: int | None, by: str
) -> Iterator[str]:
    for most, window_s in ((per_hour, HOUR_S), (per_day, DAY_S)):
        if most is None:
            continue
        for end, _ in bought:
            nodes = sum(made for at, made in bought if end - window_s < at <= end)
            if nodes > most:
                yield f"{nodes} nodes were bought {by} within {window_s} s, {most} are allowed"


def _for(
    producer: str,
    job: Job,
    world: World,
    operations: Mapping[str, Operation],
    requests: Mapping[str, Request],
) -> int:
    """How many of the job's nodes are this producer's."""
    operation = operations.get(world.provider.owner(job.job_id) or "")
    if operation is None:
        return 0
    parts = zip(operation.allocations, distribute(operation.allocations, job.made), strict=True)
    return sum(
        nodes
        for allocation, nodes in parts
        if (spec := requests[allocation.request_id].spec) is not None and spec.requested_by == producer
    )
