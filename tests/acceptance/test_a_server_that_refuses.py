"""Redis answers that it cannot now: workers stay, say so once, and go on when it can again."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support.durable_server import DurableServer, durable_server
from tests.support.ports import free_port
from tests.support.processes import Process, Simulator, environment, eventually, process, simulator, worker

REFUSES_S = 6.0
START_REFUSED_S = 2.5
MAX_LINES = 300
WORKER = ["-m", "celery", "-A", "workers", "worker"]

Refusal = Callable[[redis.Redis, bool], None]


def without_memory(client: redis.Redis, refuses: bool) -> None:
    client.config_set("maxmemory", 1 if refuses else 0)


def replica(client: redis.Redis, refuses: bool) -> None:
    """Demoted, as before a planned failover; reads go on being answered."""
    if refuses:
        client.replicaof("127.0.0.1", free_port())
    else:
        client.replicaof("NO", "ONE")


def stale_replica(client: redis.Redis, refuses: bool) -> None:
    client.config_set("replica-serve-stale-data", "no")
    replica(client, refuses)


def too_few_replicas(client: redis.Redis, refuses: bool) -> None:
    client.config_set("min-replicas-to-write", 1 if refuses else 0)


def without_rights(client: redis.Redis, refuses: bool) -> None:
    if refuses:
        client.acl_setuser("worker", enabled=True, categories=["-@write", "-@scripting"])
    else:
        give_all_rights(client)


def give_all_rights(client: redis.Redis) -> None:
    client.acl_setuser(
        "worker", enabled=True, passwords=["+secret"], keys=["*"], channels=["*"], categories=["+@all"]
    )


REFUSALS = [without_memory, replica, stale_replica, too_few_replicas, without_rights]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DurableServer]:
    with durable_server(tmp_path / "server") as started:
        with started.client() as client:
            give_all_rights(client)
        yield started


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Simulator]:
    with simulator(tmp_path / "simulator.log", signature_ttl_s=3, job_duration_s=3) as started:
        yield started


@pytest.fixture
def env(server: DurableServer, provider: Simulator) -> dict[str, str]:
    return environment(
        f"redis://worker:secret@127.0.0.1:{server.port}/0",
        provider.api_url,
        SIGNATURE_TTL_S=3,
        HTTP_TIMEOUT_S=2,
        SUBMIT_LEASE_S=3,
        LOG_LEVEL="INFO",
    )


@pytest.fixture
def running(env: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    with worker(env, tmp_path / "worker.log") as started:
        yield started


def send(server: DurableServer, *request_ids: str) -> None:
    with Celery(broker=server.url, set_as_current=False) as client:
        for name in request_ids:
            fields = {"request_id": name, "cluster_id": f"ehpc-{name}", "zone": "jn1a", "node_count": 1}
            client.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout", task_id=name)


def outcomes(server: DurableServer) -> list[Any]:
    with server.client() as client:
        return list(client.keys("scaleout:outcome:*"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.__name__)
def test_a_worker_outlives_a_server_that_refuses(
    running: Process, server: DurableServer, provider: Simulator, refusal: Refusal
) -> None:
    names = [f"r{number}" for number in range(10)]
    send(server, *names[:5])
    eventually(lambda: len(running.events("operation_submitted")) >= 3, "it is in the middle of it")
    lines_before = len(running.text().splitlines())

    with server.client() as client:
        refusal(client, True)
        time.sleep(REFUSES_S)
        lines_after = len(running.text().splitlines())
        assert running.alive()
        refusal(client, False)
    send(server, *names[5:])

    eventually(lambda: len(outcomes(server)) == 10, "all have ended", within_s=100)
    assert running.alive()
    assert provider.nodes() == 10
    assert lines_after - lines_before < MAX_LINES
    refused = [*running.events("redis_refuses"), *running.events("broker_refuses")]
    assert 1 <= len(refused) <= 6
    assert "critical" not in {line["level"] for line in refused}


def refusals(process: Process) -> list[dict[str, Any]]:
    return [*process.events("redis_refuses"), *process.events("broker_refuses")]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.__name__)
def test_a_worker_starts_while_the_server_refuses(
    env: dict[str, str], server: DurableServer, provider: Simulator, tmp_path: Path, refusal: Refusal
) -> None:
    send(server, "r1")
    with server.client() as client:
        refusal(client, True)
        with process(WORKER, env, tmp_path / "worker.log") as starting:
            eventually(lambda: bool(refusals(starting)), "it has met the refusal")
            time.sleep(START_REFUSED_S)
            assert starting.alive(), starting.text()
            assert "Traceback" not in starting.text()
            assert len(refusals(starting)) <= 3
            refusal(client, False)

            eventually(lambda: len(outcomes(server)) == 1, "it works once the server does")
            assert starting.alive()
    assert provider.nodes() == 1


@pytest.mark.timeout(120)
def test_a_ledger_that_refuses_beside_a_healthy_broker_costs_little(
    server: DurableServer, provider: Simulator, tmp_path: Path
) -> None:
    with durable_server(tmp_path / "broker") as broker:
        env = environment(
            server.url,
            provider.api_url,
            BROKER_URL=broker.url,
            RESULT_BACKEND=broker.url,
            SIGNATURE_TTL_S=3,
            HTTP_TIMEOUT_S=2,
        )
        with worker({**env, "SCALEOUT_LOG_LEVEL": "INFO"}, tmp_path / "worker.log") as running:
            with server.client() as client:
                replica(client, True)
                send(broker, *(f"r{number}" for number in range(10)))
                time.sleep(10)
                assert len(running.text().splitlines()) < 150
                replica(client, False)
            eventually(lambda: len(outcomes(server)) == 10, "all have ended", within_s=60)
            assert running.alive()
    assert provider.nodes() == 10
