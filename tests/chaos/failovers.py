"""Failovers of Redis under load: nothing is bought twice, and nothing is sent from a ledger that lost steps.

`make failovers ROUNDS=10` prints a table.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from tests.chaos.tcp_proxy import tcp_proxy
from tests.support.processes import Process, Simulator, environment, eventually, simulator, worker
from tests.support.replicated_server import ReplicatedServer, replicated_server
from tests.support.sentinels import How, Passwords, SentinelServers, sentinel_servers

REQUESTS = 50
SEND_AGAIN_S = 3.0
END_WITHIN_S = 150.0
UNCHANGED_S = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the requests.

    Fields:
        marked: the ledger knows that it lost steps.
        held: operations that an operator has to decide: a worker was killed while it sent the first call.
    """

    kind: str
    ended: int
    nodes: int
    marked: bool
    held: int
    sent_after_mark: int

    @property
    def broken(self) -> list[str]:
        found = []
        if self.nodes > REQUESTS:
            found.append(f"{self.nodes} nodes for {REQUESTS}")
        if self.sent_after_mark:
            found.append(f"{self.sent_after_mark} calls were sent after the ledger was marked")
        complete = (self.ended, self.nodes) == (REQUESTS, REQUESTS)
        if not complete and not self.marked and not self.held:
            found.append(f"{self.ended} of {REQUESTS} ended with {self.nodes} nodes, and nothing is marked")
        return found


Servers = ReplicatedServer | SentinelServers


@dataclass(frozen=True, slots=True)
class Place:
    """Servers, and how workers and producers reach the master of them.

    Fields:
        fail_over: chooses how by chance; comes back once the replicas follow the new master.
    """

    servers: Servers
    url: str
    producer: Callable[[], Celery]
    fail_over: Callable[[random.Random], None]


@contextmanager
def behind_a_proxy(folder: Path, *, sentinels: bool) -> Iterator[Place]:
    """Reach the master by a proxy that follows it. `sentinels`: they choose it; otherwise the test does."""
    with ExitStack() as stack:
        servers: Servers = (
            stack.enter_context(sentinel_servers(folder))
            if sentinels
            else stack.enter_context(replicated_server(folder))
        )
        proxy = stack.enter_context(tcp_proxy(servers.master.port))
        url = f"redis://127.0.0.1:{proxy.port}/0"

        def fail_over(rng: random.Random) -> None:
            """The proxy chooses the master for new connections; those that are there stay where they are."""
            how: Literal["planned", "killed"] = rng.choice(("planned", "killed"))
            old = servers.fail_over(how)
            proxy.pass_on_to(servers.master.port)
            if how == "killed":
                proxy.cut()
                old.start()
            time.sleep(1)
            servers.follow()

        yield Place(servers, url, lambda: Celery(broker=url, set_as_current=False), fail_over)


@contextmanager
def by_sentinels(folder: Path) -> Iterator[Place]:
    """Reach the master by asking the sentinels for it. The old one may also be cut off, and come back."""
    with sentinel_servers(folder, Passwords("of-servers", "of-sentinels")) as servers:

        def fail_over(rng: random.Random) -> None:
            how: How = rng.choice(("planned", "forced", "killed", "cut off"))
            old = servers.fail_over(how)
            time.sleep(rng.uniform(0.2, 3))
            old.thaw()
            old.start()
            servers.follow()

        yield Place(servers, servers.url, servers.producer, fail_over)


def run(
    folder: Path,
    *,
    failovers: int,
    seed: int,
    behind: bool = False,
    restarts: bool = False,
    reach: Literal["proxy", "sentinels' choice", "sentinels"] = "proxy",
) -> Verdict:
    """Send fifty requests, fail over in the midst of them, and judge.

    Args:
        behind: the replica lacks the last half second at the first failover, where the test chooses it.
        restarts: a supervisor replaces all workers at each failover, so that no process knows what was lost.
        reach: a proxy follows the master, which the test or three sentinels choose; or workers and producers
            ask the sentinels themselves.
    """
    rng = random.Random(seed)
    options: dict[str, Any] = {"signature_ttl_s": 3, "job_duration_s": "1-3"}
    redis_folder = folder / "redis"
    place_of = (
        by_sentinels(redis_folder)
        if reach == "sentinels"
        else behind_a_proxy(redis_folder, sentinels=reach != "proxy")
    )
    with place_of as place, simulator(folder / "simulator.log", **options) as provider:
        env = environment(place.url, provider.api_url, SIGNATURE_TTL_S=3, HTTP_TIMEOUT_S=2, SUBMIT_LEASE_S=3)
        with ExitStack() as stack:
            workers = _workers(stack, env, folder, 0)
            _send_all(place)
            for number in range(failovers):
                time.sleep(rng.uniform(0.2, 1.5))
                if behind and number == 0 and isinstance(place.servers, ReplicatedServer):
                    place.servers.fail_behind(0.5)
                if restarts:
                    for each in workers:
                        each.kill()
                place.fail_over(rng)
                if restarts:
                    workers = _workers(stack, env, folder, number + 1)
                _send_all(place)
            kind = f"{failovers} failovers, seed {seed}, {reach}{', new workers' if restarts else ''}"
            return _judge(place, provider, workers, kind)


def _workers(stack: ExitStack, env: dict[str, str], folder: Path, generation: int) -> list[Process]:
    logs = [folder / f"worker-{generation}-{number}.log" for number in range(2)]
    return [stack.enter_context(worker(env, log)) for log in logs]


def _send_all(place: Place) -> None:
    """A producer that does not know whether its messages arrived sends them again, with the same ids."""
    with place.producer() as client:
        for number in range(REQUESTS):
            fields = {
                "request_id": f"r-{number}",
                "cluster_id": f"ehpc-{number % 25}",
                "zone": "jn1a",
                "node_count": 1,
            }
            try:
                client.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout", retry=False)
            except (OperationalError, redis.RedisError, OSError):
                time.sleep(0.1)


def _judge(place: Place, provider: Simulator, workers: list[Process], kind: str) -> Verdict:
    with place.servers.master.client() as client:

        def ended() -> int:
            return int(client.exists(*(f"scaleout:outcome:r-{number}" for number in range(REQUESTS))))

        def marked() -> bool:
            return bool(client.hexists("scaleout:epoch", "lost"))

        def held() -> int:
            return int(client.zcard("scaleout:held"))

        until, again_at = time.monotonic() + END_WITHIN_S, time.monotonic() + SEND_AGAIN_S
        while ended() < REQUESTS and not marked() and time.monotonic() < until:
            if time.monotonic() > again_at:
                _send_all(place)
                again_at = time.monotonic() + SEND_AGAIN_S
            time.sleep(0.2)
        time.sleep(2)
        calls = len(provider.get("truth")["add_nodes_calls"])
        time.sleep(UNCHANGED_S)
        later = len(provider.get("truth")["add_nodes_calls"]) - calls
        for each in workers:
            each.check()
        if not marked():
            eventually(lambda: provider.nodes() >= ended(), "the last jobs have ended", within_s=20)
        is_marked = marked()
        return Verdict(kind, ended(), provider.nodes(), is_marked, held(), later if is_marked else 0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    print("| failovers | ended | nodes | marked | held | broken |\n| --- | --- | --- | --- | --- | --- |")
    broken = 0
    for seed in range(given.seed, given.seed + given.rounds):
        with tempfile.TemporaryDirectory(prefix="failovers-") as folder:
            verdict = run(
                Path(folder),
                failovers=1 + seed % 3,
                seed=seed,
                # Sentinels choose no replica that has been kept from its master.
                behind=seed % 2 == 0,
                restarts=seed % 4 >= 2,
                reach="proxy" if seed % 2 == 0 else "sentinels" if seed % 4 == 1 else "sentinels' choice",
            )
        broken += bool(verdict.broken)
        said = "; ".join(verdict.broken) or "nothing"
        marked = "yes" if verdict.marked else "no"
        counts = f"{verdict.ended} | {verdict.nodes} | {marked} | {verdict.held}"
        print(f"| {verdict.kind} | {counts} | {said} |", flush=True)
    if broken:
        raise SystemExit(f"{broken} rounds broke a promise")


if __name__ == "__main__":
    main()
