"""Who asks for nodes in a run: bare Celery clients, writers to the ledger, people at the command line.

A producer that does not learn whether it was heard asks again, with the same request_id.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from config.settings import LedgerSettings
from tasks.contract.request import parse_request
from tasks.engine.wiring import open_intake, open_ledger
from tests.support.processes import ROOT

CLUSTERS = 8
PAUSE_S = 0.3
UNREACHABLE = 5


@dataclass
class ScheduledRequest:
    """One request, and what its producer knows of it."""

    at_s: float
    way: str
    fields: dict[str, Any]
    heard: bool = False
    attempts: int = 0
    task_ids: list[str] = field(default_factory=list)
    lost_by_the_broker: int = 0

    @property
    def request_id(self) -> str:
        return str(self.fields["request_id"])


def plan_requests(seed: int, *, number: int, last_s: float) -> list[ScheduledRequest]:
    """Small ones that share operations, large ones that take several, over clusters of two zones."""
    rng = random.Random(f"requests {seed}")
    found = []
    for place in range(number):
        cluster = rng.randrange(CLUSTERS)
        fields = {
            "request_id": f"r-{seed}-{place:03}",
            "cluster_id": f"ehpc-{cluster}",
            "zone": f"zone{cluster % 2}",
            "node_count": rng.choice([1, 1, 2, 2, 3, 5, 17, 60, 130]),
        }
        way = rng.choice(["message"] * 12 + ["ledger"] * 7 + ["command"])
        found.append(ScheduledRequest(rng.uniform(0.0, last_s), way, fields))
    return sorted(found, key=lambda request: request.at_s)


class Producer(Protocol):
    def send(self, request: ScheduledRequest) -> None:
        """Raise one of NOT_HEARD if nobody confirmed it."""

    def close(self) -> None:
        """Let go of what is open between two requests."""


class MessageProducer:
    """A bare Celery client: it knows the task's name and nothing of this project.

    Without a result backend, whose client gives up for good after some outages; the verdict reads results.
    """

    def __init__(self, redis_url: str) -> None:
        self._app = Celery(broker=redis_url, set_as_current=False)
        sockets = {"socket_timeout": 2, "socket_connect_timeout": 2}
        self._app.conf.update(broker_transport_options=sockets)

    def send(self, request: ScheduledRequest) -> None:
        """Raises what a client raises that was not told that its message has arrived."""
        task_id = f"{request.request_id}.t{request.attempts}"
        self._app.send_task(
            "scaleout.add_nodes",
            kwargs=request.fields,
            queue="scaleout",
            task_id=task_id,
            retry=False,
        )
        request.task_ids.append(task_id)

    def close(self) -> None:
        self._app.close()


class LedgerWriter:
    """What `scaleout submit` and gateways do: when it returns, the request is in the ledger."""

    def __init__(self, redis_url: str) -> None:
        self._settings = LedgerSettings(redis_url=redis_url, coalesce_window_s=0.2)

    def send(self, request: ScheduledRequest) -> None:
        asyncio.run(self._accept(request))

    async def _accept(self, request: ScheduledRequest) -> None:
        ledger = await open_ledger(self._settings)
        try:
            await open_intake(self._settings, ledger).accept(parse_request(request.fields), None)
        finally:
            await ledger.redis.aclose()

    def close(self) -> None:
        """Nothing is kept open between two requests."""


class CommandLine:
    """`scaleout submit`, the program itself."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)

    def send(self, request: ScheduledRequest) -> None:
        """Raises OSError if Redis was not reachable."""
        options = {
            "--request-id": request.request_id,
            "--cluster": request.fields["cluster_id"],
            "--zone": request.fields["zone"],
            "--nodes": str(request.fields["node_count"]),
        }
        arguments = [text for option in options.items() for text in option]
        done = subprocess.run(
            [sys.executable, "-m", "workers.cli.main", "submit", *arguments],
            cwd=ROOT,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode == UNREACHABLE:
            raise ConnectionError(done.stderr)
        if done.returncode != 0:
            raise RuntimeError(f"scaleout submit ended with {done.returncode}: {done.stderr}")

    def close(self) -> None:
        """A process for each request."""


Send = Callable[[ScheduledRequest], None]

# Of the network and of Redis; whatever else a producer raises is a defect, and ends the run.
NOT_HEARD = (OSError, RedisError, OperationalError)


def send_until_confirmed(ask: Send, request: ScheduledRequest, note: Callable[[str], None]) -> None:
    while not request.heard:
        try:
            ask(request)
        except NOT_HEARD as error:
            note(f"{request.request_id} not heard ({request.way}): {type(error).__name__}")
            time.sleep(PAUSE_S)
        else:
            request.heard = True
        finally:
            request.attempts += 1
