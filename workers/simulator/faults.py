"""Faults on demand: which calls go wrong, and how."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

FaultKind = Literal[
    "ret_code",
    "latency",
    "drop",
    "reset",
    "hang",
    "cut_off",
    "html",
    "empty",
    "not_json",
    "huge",
    "no_job_id",
    "http_status",
    "redirect",
    "fail_job",
    "job_duration",
    "unknown_status",
    "never_listed",
]
OF_THE_JOB = frozenset({"fail_job", "job_duration", "unknown_status", "never_listed"})


@dataclass(slots=True)
class Fault:
    """`times`: for how many calls, None for all; `skip`: how many calls to leave alone first;
    `made`: whether what was asked for is carried out all the same."""

    kind: FaultKind
    action: str = "addNodes"
    cluster_id: str | None = None
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    made: bool = False
    code: int = 5000
    message: str = "InternalError"
    status: int = 502
    retry_after: str | None = None
    seconds: float = 0.0
    nodes_made: int = 0


class FaultPlan:
    def __init__(self, seed: int) -> None:
        self.faults: list[Fault] = []
        self._rng = random.Random(seed)

    def draw(self, action: str, cluster_id: str | None, *, of_the_job: bool) -> Fault | None:
        """The fault that this call meets, if any."""
        for fault in self.faults:
            fits = fault.action in (action, "*") and fault.cluster_id in (None, cluster_id)
            if not fits or (fault.kind in OF_THE_JOB) is not of_the_job or fault.times == 0:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if self._rng.random() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None
