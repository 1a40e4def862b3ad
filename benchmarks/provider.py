"""The simulated provider in a process of its own: how it is started, and its pages."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ROOT, Measured
from workers.simulator.client import SimulatorClient
from workers.simulator.client import simulator as start_simulator

ZONE = "jn1a"
ACCESS_KEY_ID = "BENCHACCESSKEYID"
SECRET_ACCESS_KEY = "bench-secret-access-key"
NO_QUOTA = 1_000_000_000


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
class Provider(SimulatorClient):
    """The simulator, with its pages typed."""

    process: Measured

    def arrivals(self) -> list[Arrival]:
        return [Arrival(*row) for row in self.get("calls")]

    def jobs(self) -> dict[str, Job]:
        rows = self.get("truth")["jobs"]
        names = Job.__slots__
        return {row["job_id"]: Job(**{name: row[name] for name in names}) for row in rows}

    def end_jobs(self, first_s: float, last_s: float, count: int | None = None) -> int:
        """Have running jobs end between `first_s` and `last_s` from now: all, or `count` of them."""
        return int(self.post("end-jobs", {"within_s": [first_s, last_s], "count": count})["jobs"])

    def set_quota(self, calls: int, period_s: float, used: int = 0) -> None:
        """From now on, with `used` of it gone, spread over the last period."""
        self.post("quota", {"calls": calls, "period_s": period_s, "used": used})

    def lose_answers(self, probability: float) -> None:
        """From now on this part of the answers to addNodes is lost on its way, though the job is made."""
        fault = {"kind": "drop", "made": True, "times": None, "probability": probability}
        self.post("faults", fault)

    def job_count(self) -> int:
        return int(self.get("health")["jobs"])


def simulator(folder: Path, **options: object) -> AbstractContextManager[Provider]:
    """Run the simulator; `options` as in workers/simulator/options.py, without a quota by default."""
    given: dict[str, object] = {
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
        "quota_calls": NO_QUOTA,
        **options,
    }
    return start_simulator(Provider, folder / "simulator.log", process=Measured, cwd=ROOT, **given)
