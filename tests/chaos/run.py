"""One run: requests and faults by a plan from a seed, then calm, then the verdict.

`python -m tests.chaos.run --runs 10 --seed 1` makes several and prints the table of faults.
"""

import argparse
import heapq
import logging
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from tests.chaos.aftermath import Aftermath
from tests.chaos.environment import Environment, started_harness
from tests.chaos.faults import Course, Fault, plan_faults
from tests.chaos.producers import (
    CommandLine,
    LedgerWriter,
    MessageProducer,
    Producer,
    ScheduledRequest,
    plan_requests,
    send_until_confirmed,
)
from tests.chaos.tally import Tally
from tests.chaos.verdict import Verdict, judge

# How many producers there are of each way to send, and what makes one.
Producers = Mapping[str, tuple[int, Callable[[Environment], Producer]]]
PRODUCERS: Producers = {
    "message": (2, lambda harness: MessageProducer(harness.redis_url)),
    "ledger": (1, lambda harness: LedgerWriter(harness.redis_url)),
    "command": (1, lambda harness: CommandLine(harness.env)),
}


@dataclass(frozen=True, slots=True)
class Extent:
    """How much happens in a run; times in seconds."""

    requests: int = 100
    faults: int = 36
    workers: int = 3
    lasting_s: float = 36.0
    calm_within_s: float = 150.0


@dataclass
class Report:
    seed: int
    history: str
    faults: Counter[str]
    verdict: Verdict
    held: int = 0
    resent: int = 0
    requests: int = 0
    nodes: int = 0
    seconds: float = 0.0
    events: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """What somebody needs who has to find out what went wrong."""
        problems = "\n".join(f"  - {problem}" for problem in self.verdict.problems) or "  none"
        return f"seed {self.seed}\n{self.history}\nproblems:\n{problems}\n{self.summary()}"

    def summary(self) -> str:
        shown = ("operation_submitted", "operation_in_doubt", "operation_adopted", "operation_not_executed")
        events = ", ".join(
            f"{name} {self.events[name]}" for name in (*shown, "late_response", "ledger_data_loss")
        )
        return (
            f"{self.requests} requests, {self.nodes} nodes, "
            f"{self.faults.total()} faults in {self.seconds:.0f} s: "
            f"lost {self.verdict.lost}, twice {self.verdict.twice}, held {self.held}, "
            f"messages sent again {self.resent}; {events}"
        )


def run(seed: int, directory: Path, extent: Extent = Extent()) -> Report:
    requests = plan_requests(seed, number=extent.requests, last_s=extent.lasting_s * 0.9)
    faults = plan_faults(seed, number=extent.faults, first_s=6.0, last_s=extent.lasting_s)
    began = time.monotonic()
    with started_harness(directory, extent.workers) as harness:
        prove_that_the_log_shows_our_jobs(harness, requests)
        producers = start_producers(harness, requests)
        try:
            inflict(harness, faults)
        finally:
            harness.calm()
        harness.history.note("calm")
        for producer in producers:
            producer.join(extent.calm_within_s)
        aftermath = Aftermath(harness, requests)
        ended = aftermath.wait(extent.calm_within_s)
        with harness.server.client() as server:
            truth = harness.provider.get("truth")
            verdict = judge(server, truth, requests)
            for text in harness.neighbour.problems(server, extent.calm_within_s):
                verdict.problem(text)
        if not ended:
            verdict.problem(f"not at its end {extent.calm_within_s:g} s after the last fault")
        for text in harness.fleet.fallen():
            verdict.problem(text)
        return Report(
            seed=seed,
            history=str(harness.history),
            faults=Counter(fault.kind for fault in faults),
            verdict=verdict,
            held=aftermath.held,
            resent=sum(request.lost_by_the_broker for request in requests),
            requests=len(requests),
            nodes=sum(len(cluster["nodes"]) for cluster in truth["clusters"].values()),
            seconds=time.monotonic() - began,
            events=Counter(str(line["event"]) for line in harness.fleet.logged()),
        )


def prove_that_the_log_shows_our_jobs(harness: Environment, requests: list[ScheduledRequest]) -> None:
    """Silence of a log that has never shown a job of ours would prove nothing: one request a zone first."""
    for zone in ("zone0", "zone1"):
        cluster = f"ehpc-first{zone}"
        fields = {"request_id": f"first-{zone}", "cluster_id": cluster, "zone": zone, "node_count": 1}
        first = ScheduledRequest(0.0, "ledger", fields)
        send_until_confirmed(LedgerWriter(harness.server.url).send, first, harness.history.note)
        requests.append(first)
    deadline = time.monotonic() + 60
    with harness.server.client() as server:
        while not all(server.exists(f"scaleout:outcome:first-{zone}") for zone in ("zone0", "zone1")):
            if time.monotonic() > deadline:
                raise AssertionError("the fleet does not work, though nothing has gone wrong yet")
            time.sleep(0.1)
    harness.history.note("the fleet works")


def start_producers(
    harness: Environment, requests: list[ScheduledRequest], producers: Producers = PRODUCERS
) -> list[threading.Thread]:
    began = harness.history.seconds

    def produce(way: str, part: int, parts: int) -> None:
        producer = producers[way][1](harness)
        mine = [request for request in requests if request.way == way and not request.heard][part::parts]
        for request in mine:
            time.sleep(max(0.0, began + request.at_s - harness.history.seconds))
            send_until_confirmed(producer.send, request, harness.history.note)
        producer.close()

    threads = [
        threading.Thread(target=produce, args=(way, part, parts), name=f"{way}-{part}", daemon=True)
        for way, (parts, _) in producers.items()
        for part in range(parts)
    ]
    for thread in threads:
        thread.start()
    return threads


def inflict(harness: Environment, faults: list[Fault]) -> None:
    """Start each fault at its time, and end each that lasts."""
    began = harness.history.seconds
    agenda: list[tuple[float, int, str, Course]] = [
        (fault.at_s, number, fault.kind, fault.course(harness)) for number, fault in enumerate(faults)
    ]
    begun: set[int] = set()
    heapq.heapify(agenda)
    while agenda:
        at_s, number, kind, course = heapq.heappop(agenda)
        while (left := began + at_s - harness.history.seconds) > 0:
            time.sleep(min(left, 0.5))
            harness.fleet.tend()
        harness.history.note(f"{'ends: ' if number in begun else ''}{kind}")
        begun.add(number)
        lasts_s = next(course, None)
        if lasts_s:
            heapq.heappush(agenda, (harness.history.seconds - began + lasts_s, number, kind, course))


def main() -> int:
    """Exit code 1 if a run broke a promise; its logs are kept then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each further one counts up")
    parser.add_argument("--minutes", type=float, default=0.6, help="how long faults go on in each run")
    options = parser.parse_args()
    # What producers in this process log is not wanted between the runs' lines.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    scale = options.minutes / 0.6
    extent = Extent(requests=round(100 * scale), faults=round(36 * scale), lasting_s=36.0 * scale)
    tally = Tally()
    broken = 0
    for seed in range(options.seed, options.seed + options.runs):
        directory = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
        report = run(seed, directory, extent)
        tally.add(report)
        if report.verdict.problems:
            broken += 1
            print(f"{report}\nlogs: {directory}\n", flush=True)
        else:
            print(f"seed {seed}: {report.summary()}", flush=True)
            shutil.rmtree(directory)
    print(f"\n{tally.table()}\n\n{tally.totals()}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
