"""Failovers of Redis under load: nothing is bought twice, and nothing is sent from a ledger that lost steps.

`make failovers ROUNDS=10` prints a table.
"""

import argparse
import random
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from tests.chaos.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.processes import Process, Simulator, environment, eventually, simulator, worker
from tests.support.replicated_server import ReplicatedServer, replicated_server
from tests.support.sentinels import SentinelServers, sentinel_servers

REQUESTS = 50
SEND_AGAIN_S = 3.0
END_WITHIN_S = 150.0
UNCHANGED_S = 5.0

Servers = ReplicatedServer | SentinelServers


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the requests. `marked`: the ledger knows that it lost steps."""

    kind: str
    ended: int
    nodes: int
    marked: bool
    sent_after_mark: int

    @property
    def broken(self) -> list[str]:
        found = []
        if self.nodes > REQUESTS:
            found.append(f"{self.nodes} nodes for {REQUESTS}")
        if self.sent_after_mark:
            found.append(f"{self.sent_after_mark} calls were sent after the ledger was marked")
        if not self.marked and (self.ended, self.nodes) != (REQUESTS, REQUESTS):
            found.append(f"{self.ended} of {REQUESTS} ended with {self.nodes} nodes, and nothing is marked")
        return found


def run(
    folder: Path,
    *,
    failovers: int,
    seed: int,
    behind: bool,
    restarts: bool = False,
    sentinels: bool = False,
) -> Verdict:
    """Send fifty requests, fail over in the midst of them, and judge.

    Args:
        behind: the replica lacks the last half second at the first failover.
        restarts: a supervisor replaces all workers at each failover, so that no process knows what was lost.
        sentinels: three sentinels choose the master; otherwise the test does.
    """
    rng = random.Random(seed)
    planned = rng.random() < 0.5
    options: dict[str, Any] = {"signature_ttl_s": 3, "job_duration_s": "1-3"}
    with (
        (sentinel_servers if sentinels else replicated_server)(folder / "redis") as server,
        tcp_proxy(server.master.port) as proxy,
        simulator(folder / "simulator.log", **options) as provider,
    ):
        env = environment(
            f"redis://127.0.0.1:{proxy.port}/0",
            provider.api_url,
            SIGNATURE_TTL_S=3,
            HTTP_TIMEOUT_S=2,
            SUBMIT_LEASE_S=3,
        )
        with ExitStack() as stack:
            workers = _workers(stack, env, folder, 0)
            _send_all(proxy)
            for number in range(failovers):
                time.sleep(rng.uniform(0.2, 1.5))
                if behind and number == 0 and isinstance(server, ReplicatedServer):
                    server.fail_behind(0.5)
                if restarts:
                    for each in workers:
                        each.kill()
                _fail_over(server, proxy, planned=planned)
                if restarts:
                    workers = _workers(stack, env, folder, number + 1)
                planned = rng.random() < 0.5
                _send_all(proxy)
            kind = f"{failovers} failovers, seed {seed}{', sentinels' if sentinels else ''}"
            kind += ", new workers" if restarts else ""
            return _judge(server, provider, proxy, workers, kind)


def _workers(stack: ExitStack, env: dict[str, str], folder: Path, generation: int) -> list[Process]:
    logs = [folder / f"worker-{generation}-{number}.log" for number in range(2)]
    return [stack.enter_context(worker(env, log)) for log in logs]


def _fail_over(server: Servers, proxy: TcpProxy, *, planned: bool) -> None:
    """The proxy chooses the master for new connections; those that are there stay where they are."""
    old = server.fail_over(planned=planned)
    proxy.pass_on_to(server.master.port)
    if not planned:
        proxy.cut()
        old.start()
    time.sleep(1)
    server.follow()


def _send_all(proxy: TcpProxy) -> None:
    """A producer that does not know whether its messages arrived sends them again, with the same ids."""
    url = f"redis://127.0.0.1:{proxy.port}/0"
    with Celery(broker=url, set_as_current=False) as client:
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


def _judge(
    server: Servers, provider: Simulator, proxy: TcpProxy, workers: list[Process], kind: str
) -> Verdict:
    with server.master.client() as client:

        def ended() -> int:
            return int(client.exists(*(f"scaleout:outcome:r-{number}" for number in range(REQUESTS))))

        def marked() -> bool:
            return bool(client.hexists("scaleout:epoch", "lost"))

        until, again_at = time.monotonic() + END_WITHIN_S, time.monotonic() + SEND_AGAIN_S
        while ended() < REQUESTS and not marked() and time.monotonic() < until:
            if time.monotonic() > again_at:
                _send_all(proxy)
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
        return Verdict(kind, ended(), provider.nodes(), is_marked, later if is_marked else 0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    print("| failovers | ended | nodes | marked | broken |\n| --- | --- | --- | --- | --- |")
    broken = 0
    for seed in range(given.seed, given.seed + given.rounds):
        with tempfile.TemporaryDirectory(prefix="failovers-") as folder:
            verdict = run(
                Path(folder),
                failovers=1 + seed % 3,
                seed=seed,
                behind=seed % 2 == 0,
                restarts=seed % 4 >= 2,
                # They choose no replica that has been kept from its master.
                sentinels=seed % 2 == 1,
            )
        broken += bool(verdict.broken)
        said = "; ".join(verdict.broken) or "nothing"
        marked = "yes" if verdict.marked else "no"
        print(f"| {verdict.kind} | {verdict.ended} | {verdict.nodes} | {marked} | {said} |", flush=True)
    if broken:
        raise SystemExit(f"{broken} rounds broke a promise")


if __name__ == "__main__":
    main()
