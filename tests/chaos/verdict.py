"""Compares what the outcomes say with what the provider has really made."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import redis

from tasks.ledger.record_values import FINAL, State
from tests.chaos.producers import ScheduledRequest

ADD_NODES = "HpcClusterAddClusterNodes"


@dataclass
class Verdict:
    """`lost`: requests that did not end, or got too few nodes; `twice`: jobs without a request."""

    problems: list[str] = field(default_factory=list)
    lost: int = 0
    twice: int = 0

    def problem(self, text: str) -> None:
        self.problems.append(text)


def records(server: redis.Redis, kind: str) -> dict[str, dict[str, Any]]:
    """All records of a kind, by id."""
    prefix = f"scaleout:{kind}:"
    found = {}
    for key in map(str, server.scan_iter(f"{prefix}*", count=500)):
        content = server.hget(key, "content")
        if content:
            found[key.removeprefix(prefix)] = json.loads(str(content))
    return found


def outcomes(server: redis.Redis, requests: list[ScheduledRequest]) -> dict[str, dict[str, Any] | None]:
    found = server.mget([f"scaleout:outcome:{request.request_id}" for request in requests])
    return {
        request.request_id: None if text is None else json.loads(text)
        for request, text in zip(requests, found, strict=True)
    }


def judge(server: redis.Redis, truth: dict[str, Any], requests: list[ScheduledRequest]) -> Verdict:
    """Every request has all its nodes, every node belongs to one request, every job to one operation."""
    verdict = Verdict()
    told = outcomes(server, requests)
    operations = records(server, "operation")
    _check_outcomes(verdict, told, requests)
    _check_jobs(verdict, operations, truth)
    _check_nodes(verdict, told, truth)
    _check_nothing_is_left(verdict, server)
    _check_results(verdict, server, requests)
    return verdict


def _check_outcomes(
    verdict: Verdict, told: dict[str, dict[str, Any] | None], requests: list[ScheduledRequest]
) -> None:
    for request in requests:
        outcome = told[request.request_id]
        wanted = request.fields["node_count"]
        if outcome is None:
            verdict.lost += 1
            verdict.problem(f"{request.request_id} ({request.way}) has no outcome")
        elif outcome["status"] != "succeeded" or outcome["nodes_added"] != wanted:
            verdict.lost += 1
            got = f"{outcome['status']} with {outcome['nodes_added']} of {wanted} nodes"
            verdict.problem(f"{request.request_id} ({request.way}) is {got}: {outcome['error']}")


def _check_jobs(verdict: Verdict, operations: dict[str, dict[str, Any]], truth: dict[str, Any]) -> None:
    jobs = {job["job_id"]: job for job in truth["jobs"] if job["job_action"] == ADD_NODES}
    owners: dict[str, str] = {}
    for name, operation in operations.items():
        job_id = operation.get("job_id")
        state = operation.get("state", State.PLANNED)
        if state not in FINAL:
            verdict.problem(f"operation {name} has not ended: it is {state}")
        if job_id is None:
            continue
        if job_id in owners:
            verdict.problem(f"job {job_id} belongs to {owners[job_id]} and to {name}")
        owners[job_id] = name
        counted = sum(part["node_count"] for part in operation["allocations"])
        if job_id not in jobs:
            verdict.problem(f"operation {name} has job {job_id}, which the provider never made")
        elif jobs[job_id]["made"] != counted or state != State.SUCCEEDED:
            made = jobs[job_id]["made"]
            verdict.problem(f"operation {name} is {state} for {counted}, made were {made}")
    for job_id, job in jobs.items():
        if job_id not in owners:
            verdict.twice += 1
            verdict.problem(f"job {job_id} made {job['made']} nodes on {job['cluster_id']} for no operation")


def _check_nodes(verdict: Verdict, told: dict[str, dict[str, Any] | None], truth: dict[str, Any]) -> None:
    said = Counter(node for outcome in told.values() if outcome for node in outcome["node_ids"])
    there = {node["node_id"] for cluster in truth["clusters"].values() for node in cluster["nodes"]}
    for node, times in said.items():
        if times > 1:
            verdict.problem(f"node {node} is in {times} outcomes")
    if extra := there - said.keys():
        verdict.problem(f"{len(extra)} nodes are there and in no outcome: {sorted(extra)[:5]} …")
    if missing := said.keys() - there:
        verdict.problem(f"{len(missing)} nodes are in outcomes and not there: {sorted(missing)[:5]} …")


def _check_nothing_is_left(verdict: Verdict, server: redis.Redis) -> None:
    for name in ("open", "held", "outbox"):
        left = server.zrange(f"scaleout:{name}", 0, 5)
        if left:
            verdict.problem(f"left in {name}: {left}")
    for cluster_id, cluster in records(server, "cluster").items():
        if cluster.get("locked_by") is not None:
            verdict.problem(f"{cluster_id} is still locked by {cluster['locked_by']}")
    if server.hexists("scaleout:epoch", "lost"):
        verdict.problem("the ledger is marked as having lost data")


def _check_results(verdict: Verdict, server: redis.Redis, requests: list[ScheduledRequest]) -> None:
    for request in requests:
        if request.lost_by_the_broker:
            continue
        for task_id in request.task_ids:
            meta: Any = server.get(f"celery-task-meta-{task_id}")
            status = json.loads(meta)["status"] if meta else None
            if status != "SUCCESS":
                verdict.problem(f"task {task_id} was heard and its producer has {status}")
