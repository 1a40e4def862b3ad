"""Redis is restarted, or cannot be reached for a time: workers come back by themselves and lose nothing.

OUTAGE_S=60 makes outages of a minute, of every kind; the suite has no time for all of them.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.chaos.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.durable_server import DurableServer, durable_server
from tests.support.processes import Process, Simulator, environment, eventually, simulator, worker

OUTAGE_S = float(os.environ.get("OUTAGE_S", "6"))
THOROUGH = "OUTAGE_S" in os.environ
# Since Redis is back. Each dead connection is noticed after 5 s, most of them one after another.
IDLE_BACK_WITHIN_S = 60.0
# A message that had just been taken is delivered again after 65 s.
BUSY_BACK_WITHIN_S = 120.0

Outage = Callable[[DurableServer, TcpProxy], None]


def restarted(server: DurableServer, proxy: TcpProxy) -> None:
    """Gone, and there again with its data."""
    server.kill()
    time.sleep(0.5)
    server.start()


def down(server: DurableServer, proxy: TcpProxy) -> None:
    """Every attempt to connect is refused for a time."""
    server.kill()
    time.sleep(OUTAGE_S)
    server.start()


def unreachable(server: DurableServer, proxy: TcpProxy) -> None:
    """The server lives, and nobody reaches it: what was connected hears nothing, new attempts are refused."""
    proxy.freeze()
    proxy.refuse(cut=False)
    time.sleep(OUTAGE_S)
    proxy.accept()


def silent(server: DurableServer, proxy: TcpProxy) -> None:
    """Packets vanish: connections can be made, and nothing comes back."""
    proxy.freeze(also_new_ones=True)
    time.sleep(OUTAGE_S)
    proxy.thaw()


OUTAGES = [restarted, down, unreachable, silent]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DurableServer]:
    with durable_server(tmp_path / "server") as started:
        yield started


@pytest.fixture
def proxy(server: DurableServer) -> Iterator[TcpProxy]:
    with tcp_proxy(server.port) as started:
        yield started


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Simulator]:
    with simulator(tmp_path / "simulator.log", signature_ttl_s=3) as started:
        yield started


@pytest.fixture
def running(proxy: TcpProxy, provider: Simulator, tmp_path: Path) -> Iterator[Process]:
    env = environment(
        f"redis://127.0.0.1:{proxy.port}/0",
        provider.api_url,
        SIGNATURE_TTL_S=3,
        LOG_LAG_S=1,
        HTTP_TIMEOUT_S=2,
        SUBMIT_LEASE_S=3,
    )
    with worker(env, tmp_path / "worker.log") as started:
        yield started


def send(server: DurableServer, request_id: str, cluster_id: str = "ehpc-a") -> None:
    """From a client whose way to the server is never disturbed."""
    fields = {"request_id": request_id, "cluster_id": cluster_id, "zone": "jn1a", "node_count": 1}
    with Celery(broker=server.url, set_as_current=False) as client:
        client.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout", task_id=request_id)


def ended(server: DurableServer, *request_ids: str) -> bool:
    with server.client() as client:
        return int(client.exists(*(f"scaleout:outcome:{name}" for name in request_ids))) == len(request_ids)


def result(server: DurableServer, task_id: str) -> Any:
    with Celery(broker=server.url, backend=server.url, set_as_current=False) as client:
        # A connection to the result store that was frozen costs 5 s, and the next try comes 5 s later.
        return client.AsyncResult(task_id).get(timeout=30)


@pytest.mark.timeout(300 + OUTAGE_S)
@pytest.mark.parametrize("outage", OUTAGES if THOROUGH else [down, silent])
def test_an_idle_worker_recovers_from_an_outage(
    running: Process, server: DurableServer, proxy: TcpProxy, provider: Simulator, outage: Outage
) -> None:
    send(server, "before")
    eventually(lambda: ended(server, "before"), "the worker works")

    outage(server, proxy)
    send(server, "after")

    eventually(lambda: ended(server, "after"), "the worker is back", within_s=IDLE_BACK_WITHIN_S)
    assert running.alive()
    assert provider.nodes() == 2


@pytest.mark.timeout(300 + OUTAGE_S)
@pytest.mark.parametrize("outage", OUTAGES if THOROUGH else [restarted, unreachable])
def test_a_busy_worker_recovers_and_loses_nothing(
    running: Process, server: DurableServer, proxy: TcpProxy, provider: Simulator, outage: Outage
) -> None:
    send(server, "before")
    eventually(lambda: ended(server, "before"), "the worker works")
    names = [f"r-{number}" for number in range(20)]
    for number, name in enumerate(names):
        send(server, name, f"ehpc-{number}")
    eventually(lambda: len(running.events("operation_submitted")) > 5, "it is in the middle of it")

    outage(server, proxy)
    send(server, "after")

    everything = [*names, "after"]
    eventually(lambda: ended(server, *everything), "all have ended", within_s=BUSY_BACK_WITHIN_S)
    assert running.alive()
    assert provider.nodes() == 22
    assert {result(server, name)["status"] for name in everything} == {"succeeded"}
