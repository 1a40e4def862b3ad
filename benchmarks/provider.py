"""The simulated provider in a process of its own: how it is started, and its pages."""

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import Measured, start

ZONE = "jn1a"
ACCESS_KEY_ID = "BENCHACCESSKEYID"
SECRET_ACCESS_KEY = "bench-secret-access-key"
NO_QUOTA = 1_000_000_000
PAGE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call as the provider saw it: `at` in seconds since 1970."""

    at: float
    what: str
    ret_code: int


@dataclass(frozen=True, slots=True)
class Job:
    """One job in truth."""

    job_id: str
    cluster_id: str
    created_at: float
    ends_at: float


@dataclass(frozen=True, slots=True)
class Provider:
    process: Measured
    url: str

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    def arrivals(self) -> list[Arrival]:
        return [Arrival(*row) for row in self._get("calls")]

    def jobs(self) -> dict[str, Job]:
        rows = self._get("truth")["jobs"]
        names = Job.__slots__
        return {row["job_id"]: Job(**{name: row[name] for name in names}) for row in rows}

    def end_jobs(self, first_s: float, last_s: float, count: int | None = None) -> int:
        """Have running jobs end between `first_s` and `last_s` from now: all, or `count` of them."""
        return int(self._post("end-jobs", {"within_s": [first_s, last_s], "count": count})["jobs"])

    def set_quota(self, calls: int, period_s: float, used: int = 0) -> None:
        """From now on, with `used` of it gone, spread over the last period."""
        self._post("quota", {"calls": calls, "period_s": period_s, "used": used})

    def lose_answers(self, probability: float) -> None:
        """From now on this part of the answers to addNodes is lost on its way, though the job is made."""
        fault = {"kind": "drop", "made": True, "times": None, "probability": probability}
        self._post("faults", fault)

    def job_count(self) -> int:
        return int(self._get("health")["jobs"])

    def _get(self, page: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/_sim/{page}", timeout=PAGE_TIMEOUT_S) as reply:
            return json.load(reply)

    def _post(self, page: str, content: object) -> Any:
        body = json.dumps(content).encode()
        with urllib.request.urlopen(f"{self.url}/_sim/{page}", body, timeout=PAGE_TIMEOUT_S) as reply:
            return json.load(reply)


@contextmanager
def simulator(folder: Path, **options: object) -> Iterator[Provider]:
    """`options` as in workers/simulator/options.py; no quota unless they say so."""
    given = {
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
        "quota_calls": NO_QUOTA,
        **options,
    }
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    with start("simulator", ["-m", "workers.simulator", *flags], os.environ, folder) as process:
        process.until_said("\n")
        yield Provider(process, json.loads(process.text().splitlines()[0])["url"])
