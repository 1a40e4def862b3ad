"""The broker's window: messages that arrive while the workers' connections are frozen.

`python -m tests.chaos.frozen_connections --rounds 20` counts how many of them are lost.
"""

import argparse
import logging
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from tests.chaos.locations import unknown_everywhere
from tests.chaos.producers import MessageProducer, ScheduledRequest
from tests.chaos.tcp_proxy import tcp_proxy
from tests.chaos.workers import fleet
from tests.support.durable_server import durable_server
from tests.support.processes import environment

WORKERS = 2
MESSAGES_A_ROUND = 2
TOGETHER_AGAIN_S = 9.0
WITHIN_S = 40.0


@dataclass(frozen=True, slots=True)
class Measured:
    """`lost`: in neither ledger nor broker; `late`: seconds until the last one was in the ledger."""

    sent: int
    lost: int
    late_s: float


def measure(directory: Path, rounds: int) -> Measured:
    """In each round every connection of the workers freezes, and messages arrive at the server."""
    requests: list[ScheduledRequest] = []
    with durable_server(directory / "server") as server, tcp_proxy(server.port) as proxy:
        env = environment(f"redis://127.0.0.1:{proxy.port}/0", "http://127.0.0.1:1/api")
        producer = MessageProducer(server.url)
        with fleet(WORKERS, env, directory), server.client() as client:

            def ask(name: str) -> None:
                fields = {"request_id": name, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
                requests.append(ScheduledRequest(0.0, "message", fields))
                producer.send(requests[-1])

            def missing() -> int:
                names = [f"scaleout:request:{request.request_id}" for request in requests]
                return len(names) - int(client.exists(*names))

            def wait(within_s: float) -> bool:
                deadline = time.monotonic() + within_s
                while missing() and time.monotonic() < deadline:
                    time.sleep(0.1)
                return not missing()

            ask("r-first")
            if not wait(WITHIN_S):
                raise AssertionError("the workers do not work, though nothing has gone wrong yet")
            # Both of them have to be there, and waiting.
            time.sleep(2.0)
            for number in range(rounds):
                proxy.freeze()
                for part in range(MESSAGES_A_ROUND):
                    ask(f"r-{number}-{part}")
                time.sleep(TOGETHER_AGAIN_S)
            began = time.monotonic()
            wait(WITHIN_S)
            late_s = time.monotonic() - began
            task_ids = [task_id for request in requests for task_id in request.task_ids]
            gone = unknown_everywhere(client, [request.request_id for request in requests], task_ids)
        producer.close()
    return Measured(len(requests) - 1, len(gone), late_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    measured = measure(Path(tempfile.mkdtemp(prefix="frozen-")), options.rounds)
    print(f"{measured.sent} messages, {measured.lost} lost; the last was late by {measured.late_s:.1f} s")
    return 1 if measured.lost else 0


if __name__ == "__main__":
    sys.exit(main())
