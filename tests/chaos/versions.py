"""A worker of an earlier commit and one of this code on one ledger, under load, each killed now and then.

`make versions SECONDS=60` prints the verdict.
"""

import argparse
import random
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import redis
from celery import Celery

from tests.support.durable_server import durable_server
from tests.support.processes import ROOT, Process, Simulator, environment, eventually, simulator
from workers.simulator.client import child

# The last commit of which the ledger is read the same way, before records were read one by one.
EARLIER = "5515255"
END_WITHIN_S = 120.0
WORKER = ["-m", "celery", "-A", "workers", "worker"]
CLUSTERS = 12
NODES = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the requests. `done_by`: how many calls each version sent."""

    requests: int
    succeeded: int
    nodes: int
    held: int
    sent_by_earlier: int
    sent_by_this: int

    @property
    def broken(self) -> list[str]:
        found = []
        if self.nodes != NODES * self.requests:
            found.append(f"{self.nodes} nodes for {NODES * self.requests}")
        if self.succeeded != self.requests:
            found.append(f"{self.succeeded} of {self.requests} succeeded")
        if self.held:
            found.append(f"{self.held} operations are held")
        if not self.sent_by_earlier or not self.sent_by_this:
            found.append("one of the versions sent nothing, so that nothing is shown")
        return found


def has_earlier_commit() -> bool:
    """Return whether this checkout has the earlier commit; a shallow one has not."""
    done = subprocess.run(
        ["git", "cat-file", "-e", f"{EARLIER}^{{commit}}"], cwd=ROOT, check=False, capture_output=True
    )
    return done.returncode == 0


def check_out(folder: Path) -> Path:
    """Put the earlier commit's files below `folder`."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def run(folder: Path, *, seconds: float, seed: int) -> Verdict:
    """Send requests for so long, and until both versions have done some, then wait for the end of all."""
    rng = random.Random(seed)
    earlier = check_out(folder / "earlier")
    with (
        ExitStack() as stack,
        durable_server(folder / "redis") as server,
        simulator(folder / "simulator.log", signature_ttl_s=3, job_duration_s="1-2") as provider,
        Celery(broker=server.url, set_as_current=False) as client,
    ):
        env = environment(server.url, provider.api_url, SIGNATURE_TTL_S=3, HTTP_TIMEOUT_S=2, SUBMIT_LEASE_S=3)
        workers: dict[Path, list[Process]] = {earlier: [], ROOT: []}

        def start(where: Path) -> None:
            log = folder / f"{where.name}-{len(workers[where])}.log"
            started = stack.enter_context(child(Process, log.stem, WORKER, env, log, cwd=where))
            workers[where].append(started)

        for where in workers:
            start(where)
        number, until, kill_at = 0, time.monotonic() + seconds, time.monotonic() + 5
        while time.monotonic() < until or not all(map(_sent, workers.values())):
            fields = {"request_id": f"r-{number}", "cluster_id": f"ehpc-{number % CLUSTERS}", "zone": "jn1a"}
            for _ in range(rng.choice((1, 1, 1, 2))):
                client.send_task(
                    "scaleout.add_nodes", kwargs={**fields, "node_count": NODES}, queue="scaleout"
                )
            number += 1
            if time.monotonic() > kill_at:
                where = rng.choice(list(workers))
                workers[where][-1].kill()
                start(where)
                kill_at = time.monotonic() + rng.uniform(6, 12)
            time.sleep(rng.uniform(0.1, 0.4))
        with server.client() as database:
            return _judge(database, provider, number, workers[earlier], workers[ROOT])


def _judge(
    database: redis.Redis, provider: Simulator, number: int, earlier: list[Process], this: list[Process]
) -> Verdict:
    names = [f"scaleout:outcome:r-{each}" for each in range(number)]
    eventually(lambda: database.exists(*names) == number, "all have ended", within_s=END_WITHIN_S)
    outcomes = [str(text) for text in database.mget(names)]
    return Verdict(
        number,
        sum('"status":"succeeded"' in text for text in outcomes),
        provider.nodes(),
        int(database.zcard("scaleout:held")),
        _sent(earlier),
        _sent(this),
    )


def _sent(workers: list[Process]) -> int:
    return sum(len(each.events("operation_submitted")) for each in workers)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="versions-") as folder:
        verdict = run(Path(folder), seconds=given.seconds, seed=given.seed)
    print(verdict)
    if verdict.broken:
        raise SystemExit("; ".join(verdict.broken))


if __name__ == "__main__":
    main()
