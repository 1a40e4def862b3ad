"""The environment of an alternative."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`poll_s`: seconds between two polls at one job; `concurrency`: tasks at once in one process."""

    redis_url: str
    api_url: str
    access_key_id: str
    secret_access_key: str
    poll_s: float
    concurrency: int

    @classmethod
    def from_environment(cls) -> Surroundings:
        return cls(
            redis_url=os.environ["BENCH_REDIS_URL"],
            api_url=os.environ["BENCH_API_URL"],
            access_key_id=os.environ["BENCH_ACCESS_KEY_ID"],
            secret_access_key=os.environ["BENCH_SECRET_ACCESS_KEY"],
            poll_s=float(os.environ["BENCH_POLL_S"]),
            concurrency=int(os.environ["BENCH_CONCURRENCY"]),
        )
