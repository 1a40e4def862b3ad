"""The outcomes that a system has written, from its stream."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from benchmarks.contenders import System
from benchmarks.processes import BenchmarkFailed
from benchmarks.provider import Job


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request's end. `at`: when it was written, by the Redis server's clock, seconds since 1970."""

    request_id: str
    status: str
    at: float
    job_ids: tuple[str, ...]


def read_outcomes(server: redis.Redis, system: System) -> list[Outcome]:
    """Raises BenchmarkFailed if one is anything but succeeded."""
    entries: Any = server.xrange(system.stream)
    outcomes = [_outcome(entry_id, fields) for entry_id, fields in entries]
    if wrong := [outcome for outcome in outcomes if outcome.status != "succeeded"]:
        raise BenchmarkFailed(f"{system.title}: {len(wrong)} requests ended as {wrong[0].status}")
    return outcomes


def delays_s(outcomes: Sequence[Outcome], jobs: Mapping[str, Job]) -> list[float]:
    """From the end of a request's last job to its outcome."""
    return [
        outcome.at - max(jobs[job_id].ends_at for job_id in outcome.job_ids)
        for outcome in outcomes
        if outcome.job_ids
    ]


def _outcome(entry_id: str, fields: Mapping[str, str]) -> Outcome:
    content = json.loads(fields["outcome"])
    operations = content["operations"] if isinstance(content, dict) else [{"job_id": content}]
    job_ids = tuple(operation["job_id"] for operation in operations)
    at = int(entry_id.partition("-")[0]) / 1000
    return Outcome(fields["request_id"], fields["status"], at, job_ids)
