"""An hour of requests and faults, in which nothing may grow: memory, descriptors, threads, keys, logs.

`python -m tests.chaos.soak --minutes 60 --seed 1`. Two workers are killed now and then. One more, the gateway
and the idle worker of another installation live from beginning to end.
"""

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from tests.chaos import soak_verdict
from tests.chaos.aftermath import Aftermath
from tests.chaos.environment import Environment, started_harness
from tests.chaos.faults import plan_faults
from tests.chaos.producers import ScheduledRequest, plan_requests
from tests.chaos.run import PRODUCERS, inflict, prove_that_the_log_shows_our_jobs, start_producers
from tests.chaos.soak_samples import Pid, Sample, Sampler
from tests.chaos.soak_traffic import HttpProducer, Traffic, clients_of
from tests.chaos.verdict import Verdict, judge
from tests.chaos.workers import Worker
from tests.support.gateway import Gateway, gateway
from tests.support.webhook_receiver import Receiver, receiver

# The rest of the time after the last fault: for what is in doubt, and for webhooks that failed.
CALM_WITHIN_S = 300.0
LASTING = ("steady", "gateway", "neighbour")


@dataclass(frozen=True, slots=True)
class Extent:
    """How long, in seconds, and how much of it a second."""

    lasting_s: float
    requests_each_s: float = 1.0
    faults_each_s: float = 0.1
    sample_s: float = 15.0


@dataclass
class Soak:
    """What a soak has found. `verdict.problems`: broken guarantees, and what grew."""

    verdict: Verdict
    samples: Sequence[Sample]
    faults: Counter[str]
    traffic: Traffic
    requests: int
    held: int
    resent: int
    seconds: float
    history: str

    def __str__(self) -> str:
        problems = "\n".join(f"- {problem}" for problem in self.verdict.problems) or "none"
        return f"{soak_verdict.table(self.samples)}\n\n{self.summary()}\nproblems: {problems}"

    def summary(self) -> str:
        answers = ", ".join(f"{status}: {times}" for status, times in self.traffic.answers.most_common())
        return (
            f"{self.requests} requests and {self.faults.total()} faults in {self.seconds:.0f} s: "
            f"lost {self.verdict.lost}, twice {self.verdict.twice}, held {self.held}, messages sent again "
            f"{self.resent}; webhooks received {self.traffic.deliveries}; answers of the gateway {answers}; "
            f"logs {soak_verdict.log_bytes(self.samples) / max(1, self.requests):,.0f} bytes a request"
        )


def run(seed: int, directory: Path, extent: Extent) -> Soak:
    """Run it. `directory` gets all logs and the server's data."""
    began, traffic = time.monotonic(), Traffic()
    requests = _requests(seed, extent)
    faults = plan_faults(
        seed, number=round(extent.lasting_s * extent.faults_each_s), first_s=5.0, last_s=extent.lasting_s
    )
    with receiver(directory) as hooks, _installation(directory, hooks, traffic) as (harness, steady, served):
        sampler = Sampler(_pids(harness, steady, served), harness.server, directory, extent.sample_s)
        ways = {**PRODUCERS, "http": (1, lambda _: HttpProducer(served.url, traffic))}
        with clients_of(served.url, traffic):
            prove_that_the_log_shows_our_jobs(harness, requests)
            with sampler.running():
                producers = start_producers(harness, requests, ways)
                try:
                    inflict(harness, faults)
                finally:
                    harness.calm()
                    harness.history.note("calm")
            for producer in producers:
                producer.join(CALM_WITHIN_S)
            aftermath = Aftermath(harness, requests)
            ended = aftermath.wait(CALM_WITHIN_S)
            _until_told(traffic, requests)
        with harness.server.client() as server:
            verdict = judge(server, harness.provider.get("truth"), requests)
            for text in harness.neighbour.problems(server, CALM_WITHIN_S):
                verdict.problem(text)
        for text in _problems(harness, traffic, hooks, requests):
            verdict.problem(text)
        if not ended:
            verdict.problem(f"not at its end {CALM_WITHIN_S:g} s after the last fault")
        for text in soak_verdict.problems(sampler.samples, len(requests), LASTING):
            verdict.problem(text)
        return Soak(
            verdict=verdict,
            samples=sampler.samples,
            faults=Counter(fault.kind for fault in faults),
            traffic=traffic,
            requests=len(requests),
            held=aftermath.held,
            resent=sum(request.lost_by_the_broker for request in requests),
            seconds=time.monotonic() - began,
            history=str(harness.history),
        )


def _requests(seed: int, extent: Extent) -> list[ScheduledRequest]:
    """As in a run of chaos, but over HTTP where that writes to the ledger itself."""
    number = round(extent.lasting_s * extent.requests_each_s)
    planned = plan_requests(seed, number=number, last_s=extent.lasting_s)
    return [replace(one, way="http") if one.way == "ledger" else one for one in planned]


@contextmanager
def _installation(
    directory: Path, hooks: Receiver, traffic: Traffic
) -> Iterator[tuple[Environment, Worker, Gateway]]:
    hooks.answer = traffic.receive
    policy = directory / "policy.toml"
    policy.write_text(hooks.table(), encoding="utf-8")
    more = {
        "SCALEOUT_POLICY_FILE": str(policy),
        "SCALEOUT_LOG_LEVEL": "INFO",
        "SSL_CERT_FILE": str(hooks.ca_file),
    }
    with started_harness(directory, 2, more) as harness:
        steady = Worker("steady", harness.env, directory / "steady.log")
        steady.start()
        try:
            with gateway(harness.env, directory / "gateway.log") as served:
                yield harness, steady, served
        finally:
            steady.stop()


def _pids(harness: Environment, steady: Worker, served: Gateway) -> dict[str, Pid]:
    workers = (*harness.fleet.workers, steady, harness.neighbour.worker)
    return {
        **{worker.name: partial(getattr, worker, "pid") for worker in workers},
        "gateway": lambda: served.process.popen.pid,
        "server": lambda: harness.server.pid,
        "simulator": lambda: harness.provider.process.popen.pid,
    }


def _until_told(traffic: Traffic, requests: Sequence[ScheduledRequest]) -> None:
    """Wait until the stream and the receiver have every outcome, but not for ever."""
    names = {request.request_id for request in requests}
    deadline = time.monotonic() + CALM_WITHIN_S
    while not names <= traffic.streamed & traffic.delivered and time.monotonic() < deadline:
        time.sleep(1.0)


def _problems(
    harness: Environment, traffic: Traffic, hooks: Receiver, requests: Sequence[ScheduledRequest]
) -> list[str]:
    """Return what clients of the gateway and the receiver of webhooks have missed, as sentences."""
    names = {request.request_id for request in requests}
    found = [*harness.fleet.fallen(), *dict.fromkeys(traffic.failures)]
    for way, seen in (("the stream", traffic.streamed), ("the receiver of webhooks", traffic.delivered)):
        if missing := names - seen:
            found.append(f"{way} has not got {len(missing)} outcomes: {sorted(missing)[:5]} …")
    ids: dict[str, set[str]] = {}
    for message_id, content in list(hooks.received):
        if content["type"] == "outcome":
            ids.setdefault(str(content["data"]["request_id"]), set()).add(message_id)
    twice = [name for name, each in ids.items() if len(each) > 1]
    if twice or hooks.refused:
        found.append(
            f"webhooks told {twice[:5]} twice under new ids; signatures refused: {hooks.refused[:5]}"
        )
    return found


def main() -> int:
    """Exit code 1 if a guarantee was broken or something grew; the logs are kept then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # What producers in this process log is not wanted between the runs' lines.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    directory = Path(tempfile.mkdtemp(prefix=f"soak-{options.seed}-"))
    soak = run(options.seed, directory, Extent(options.minutes * 60))
    print(soak)
    if soak.verdict.problems:
        (directory / "history").write_text(soak.history, encoding="utf-8")
        print(f"logs: {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
