"""The provider's truth: clusters, nodes, jobs, stock. No input or output; time is handed in."""

import random
from bisect import bisect_left
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from workers.simulator.options import SimulatorOptions
from workers.simulator.signature_check import Refused

ADD_NODES = "HpcClusterAddClusterNodes"
DELETE_NODES = "HpcClusterDeleteClusterNodes"
ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(slots=True)
class Node:
    node_id: str
    role: str
    job_id: str
    create_time: float


@dataclass(slots=True)
class Job:
    job_id: str
    cluster_id: str
    zone: str
    job_action: str
    role: str
    asked: int
    made: int
    created_at: float
    ends_at: float
    error_codes: str = ""
    listed: bool = True
    odd_status: str | None = None
    node_ids: list[str] = field(default_factory=list)
    removes: bool = False
    delivered: bool = False


@dataclass(slots=True)
class Cluster:
    cluster_id: str
    zone: str
    nodes: dict[str, Node] = field(default_factory=dict)
    job: Job | None = None
    stock: int | None = None


@dataclass(slots=True)
class JobPlan:
    """How a job that is about to be made will go; faults change it."""

    duration_s: float
    made: int | None = None
    error_codes: str = ""
    listed: bool = True
    odd_status: str | None = None


class Cloud:
    """`now` gives the provider's time in seconds since 1970."""

    def __init__(self, options: SimulatorOptions, now: Callable[[], float]) -> None:
        self.options = options
        self.now = now
        self.stock = options.stock
        self.clusters: dict[str, Cluster] = {}
        self.jobs: dict[str, Job] = {}
        self._by_zone: dict[str, list[Job]] = {}
        self._by_cluster: dict[str, list[Job]] = {}
        self._rng = random.Random(options.seed)

    def plan_job(self) -> JobPlan:
        return JobPlan(self._rng.uniform(*self.options.duration_range_s()))

    def add_nodes(self, zone: str, body: dict[str, Any], plan: JobPlan) -> Job:
        """Raises Refused as the provider would."""
        cluster_id, role, count = self._parameters(zone, body)
        cluster = self._unchanging(cluster_id, zone)
        self._take_stock(cluster, count)
        return self.start_job(cluster, ADD_NODES, role, count, plan)

    def delete_nodes(self, zone: str, body: dict[str, Any], plan: JobPlan) -> Job:
        """The job removes the nodes when it ends. Raises Refused as the provider would."""
        cluster_id, node_ids = body.get("cluster_id"), body.get("node_ids", body.get("node_list"))
        if not isinstance(cluster_id, str) or body.get("zone") != zone:
            raise Refused(1100, f"InvalidParameter, cluster_id [{cluster_id}], zone [{body.get('zone')}]")
        if not isinstance(node_ids, list) or not node_ids:
            raise Refused(1100, f"InvalidParameter, node_ids [{node_ids!r}] should be a list of nodes")
        cluster = self._unchanging(cluster_id, zone)
        left = [node for node in cluster.nodes.values() if node.node_id not in node_ids]
        going = [node for node in cluster.nodes.values() if node.node_id in node_ids]
        if len(going) != len(node_ids):
            raise Refused(2100, f"ResourceNotFound, not all of {node_ids} are nodes of [{cluster_id}]")
        if gone := {node.role for node in going} - {node.role for node in left}:
            raise Refused(1400, f"PermissionDenied, at least one node must stay of each role: {sorted(gone)}")
        plan.made = 0
        job = self.start_job(cluster, DELETE_NODES, going[0].role, len(going), plan)
        job.node_ids, job.removes = [node.node_id for node in going], True
        return job

    def start_job(self, cluster: Cluster, action: str, role: str, count: int, plan: JobPlan) -> Job:
        now = self.now()
        job = Job(
            job_id=f"j-{self._name(11)}",
            cluster_id=cluster.cluster_id,
            zone=cluster.zone,
            job_action=action,
            role=role,
            asked=count,
            made=count if plan.made is None else min(plan.made, count),
            created_at=now,
            ends_at=now + plan.duration_s,
            error_codes=plan.error_codes,
            listed=plan.listed,
            odd_status=plan.odd_status,
        )
        job.node_ids = [f"cln-{self._name(8)}" for _ in range(job.made)]
        self.jobs[job.job_id] = job
        self._by_zone.setdefault(cluster.zone, []).append(job)
        self._by_cluster.setdefault(cluster.cluster_id, []).append(job)
        cluster.job = job
        return job

    def status(self, job: Job) -> str:
        """pending, successful or failed, by the clock; an ended job has delivered its nodes."""
        now = self.now()
        if now < job.ends_at:
            half = job.created_at + (job.ends_at - job.created_at) / 2
            return job.odd_status if job.odd_status is not None and now < half else "pending"
        self._deliver(job)
        return "failed" if job.error_codes else "successful"

    def end_due_jobs(self) -> None:
        """Deliver the nodes of all jobs that have ended."""
        for job in self.jobs.values():
            self.status(job)

    def operations(
        self,
        zone: str,
        start: float | None,
        end: float | None,
        *,
        job_ids: Collection[str] = (),
        cluster_id: str | None = None,
    ) -> list[Job]:
        """The zone's jobs that the log shows by now, oldest first; all, or those asked for."""
        if job_ids:
            found = (self.jobs[job_id] for job_id in job_ids if job_id in self.jobs)
            jobs = sorted((job for job in found if job.zone == zone), key=lambda job: job.created_at)
        elif cluster_id is not None:
            jobs = [job for job in self._by_cluster.get(cluster_id, []) if job.zone == zone]
        else:
            jobs = self._by_zone.get(zone, [])
        first = 0 if start is None else bisect_left(jobs, int(start), key=lambda job: int(job.created_at))
        shown_until = self.now() - self.options.log_lag_s
        return [
            job
            for job in jobs[first:]
            if job.listed
            and job.created_at <= shown_until
            and (end is None or int(job.created_at) <= end)
            and cluster_id in (None, job.cluster_id)
        ]

    def end_jobs(self, first_s: float, last_s: float, count: int | None) -> int:
        """Have jobs that still go end, spread evenly between `first_s` and `last_s` from now; all, or `count`
        of them. Gives how many."""
        now = self.now()
        going = [job for job in self.jobs.values() if now < job.ends_at]
        chosen = going if count is None else self._rng.sample(going, min(count, len(going)))
        for place, job in enumerate(chosen):
            job.ends_at = now + first_s + (last_s - first_s) * (place + 0.5) / len(chosen)
        return len(chosen)

    def nodes(self, zone: str, cluster_id: str) -> list[Node]:
        cluster = self._cluster(cluster_id, zone)
        self._changing(cluster)
        return list(cluster.nodes.values())

    def foreign_job(self, cluster_id: str, zone: str, count: int, action: str) -> Job:
        """A change that somebody makes at the console."""
        plan = self.plan_job()
        if action != ADD_NODES:
            plan.made = 0
        return self.start_job(self._cluster(cluster_id, zone), action, "compute", count, plan)

    def set_stock(self, cluster_id: str | None, zone: str, nodes: int | None) -> None:
        if cluster_id is None:
            self.stock = nodes
        else:
            self._cluster(cluster_id, zone).stock = nodes

    def _parameters(self, zone: str, body: dict[str, Any]) -> tuple[str, str, int]:
        cluster_id, count = body.get("cluster_id"), body.get("node_count")
        role = body.get("node_role", "compute")
        if not isinstance(cluster_id, str) or not cluster_id.startswith(("ehpc-", "hpc-")):
            raise Refused(1100, f"InvalidParameter, cluster_id [{cluster_id}]")
        if not isinstance(count, str) or not count.isdigit() or not 1 <= int(count) <= 99:
            raise Refused(1100, f"InvalidParameter, node_count [{count!r}] should be a string of 1 to 99")
        if body.get("zone") != zone:
            raise Refused(1100, f"InvalidParameter, zone [{body.get('zone')}]")
        if role not in ("login", "compute") or (role == "compute" and cluster_id.startswith("hpc-")):
            raise Refused(1100, f"InvalidParameter, node_role [{role}] of [{cluster_id}]")
        ips = body.get("private_ips")
        if ips is not None and (not isinstance(ips, list) or len(ips) != int(count)):
            raise Refused(1100, "InvalidParameter, private_ips")
        return cluster_id, role, int(count)

    def _cluster(self, cluster_id: str, zone: str) -> Cluster:
        cluster = self.clusters.setdefault(cluster_id, Cluster(cluster_id, zone))
        if cluster.zone != zone:
            raise Refused(2100, f"ResourceNotFound, resource [{cluster_id}] not found in zone [{zone}]")
        return cluster

    def _unchanging(self, cluster_id: str, zone: str) -> Cluster:
        cluster = self._cluster(cluster_id, zone)
        if self._changing(cluster):
            raise Refused(1400, f"PermissionDenied, resource [{cluster_id}] is in transition, try later")
        return cluster

    def _changing(self, cluster: Cluster) -> bool:
        return cluster.job is not None and self.status(cluster.job) not in ("successful", "failed")

    def _take_stock(self, cluster: Cluster, count: int) -> None:
        for stock in (self.stock, cluster.stock):
            if stock is not None and stock < count:
                raise Refused(5200, f"InsufficientResources, {count} nodes are not available now")
        if self.stock is not None:
            self.stock -= count
        if cluster.stock is not None:
            cluster.stock -= count

    def _deliver(self, job: Job) -> None:
        if job.delivered:
            return
        job.delivered = True
        nodes = self.clusters[job.cluster_id].nodes
        for node_id in job.node_ids:
            if job.removes:
                nodes.pop(node_id, None)
            else:
                nodes[node_id] = Node(node_id, job.role, job.job_id, job.ends_at)

    def _name(self, length: int) -> str:
        return "".join(self._rng.choices(ID_ALPHABET, k=length))
