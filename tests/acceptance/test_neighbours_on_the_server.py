"""Other installations, other Celery applications and careless producers on the server of the ledger."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support.command_line import scaleout
from tests.support.durable_server import DurableServer, durable_server
from tests.support.messages import message
from tests.support.processes import Simulator, environment, eventually, process, simulator, worker
from workers.broker.compression import MAX_BODY


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DurableServer]:
    with durable_server(tmp_path / "server") as started:
        yield started


@pytest.fixture
def client(server: DurableServer) -> Iterator[Celery]:
    with Celery(broker=server.url, backend=server.url, set_as_current=False) as client:
        yield client


def send(client: Celery, request_id: str, queue: str = "scaleout", **more: Any) -> Any:
    fields = {"request_id": request_id, "cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 2, **more}
    return client.send_task("scaleout.add_nodes", kwargs=fields, queue=queue)


@pytest.mark.timeout(120)
def test_two_installations_on_one_database_buy_each_their_own(
    server: DurableServer, client: Celery, tmp_path: Path
) -> None:
    with (
        simulator(tmp_path / "sim-1.log") as first,
        simulator(tmp_path / "sim-2.log") as second,
        worker(environment(server.url, first.api_url), tmp_path / "first.log"),
        worker(environment(server.url, second.api_url, KEY_PREFIX="staging"), tmp_path / "second.log"),
    ):
        results = [send(client, f"r{number}", cluster_id=f"ehpc-{number}") for number in range(6)]
        results += [
            send(client, f"r{number}", "staging", cluster_id=f"ehpc-s{number}") for number in range(4)
        ]
        assert all(result.get(timeout=40)["status"] == "succeeded" for result in results)

        assert (first.nodes(), second.nodes()) == (12, 8)
        assert (first.nodes("ehpc-0"), second.nodes("ehpc-s0")) == (2, 2)


def test_a_worker_of_another_account_is_refused_until_it_is_acknowledged(
    server: DurableServer, provider: Simulator, tmp_path: Path
) -> None:
    with worker(environment(server.url, provider.api_url), tmp_path / "first.log"):
        pass
    env = environment(server.url, provider.api_url, ACCESS_KEY_ID="ANOTHER")

    with process(["-m", "celery", "-A", "workers", "worker"], env, tmp_path / "other.log") as other:
        assert other.popen.wait(30) == 1
    assert "belongs to another access key" in other.text()
    assert "Traceback" not in other.text()
    assert "belongs to another access key" in scaleout(env, "doctor").out

    scaleout(env, "doctor", "--acknowledge-account")
    with worker(env, tmp_path / "third.log"):
        pass


@pytest.mark.timeout(120)
def test_messages_of_other_applications_are_left_to_them(
    server: DurableServer, client: Celery, provider: Simulator, tmp_path: Path
) -> None:
    with server.client() as database:
        # Taken an hour ago by a worker of the other application, and by one of an earlier version of ours.
        for tag, queue in (("theirs", "foreign"), ("ours", "scaleout")):
            body = json.dumps([[], {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}, {}])
            raw = message(body.encode(), tag, queue)
            database.hset("unacked", tag, json.dumps([raw, "", queue]))
            database.zadd("unacked_index", {tag: database.time()[0] - 3600})

        with worker(environment(server.url, provider.api_url), tmp_path / "worker.log"):
            eventually(lambda: bool(database.exists("scaleout:outcome:ours")), "ours is restored and done")

        assert database.hkeys("unacked") == ["theirs"]
        assert database.llen("foreign") == 0


@pytest.mark.timeout(120)
def test_a_small_message_that_decompresses_to_a_gigabyte_costs_no_memory(
    server: DurableServer, client: Celery, provider: Simulator, tmp_path: Path
) -> None:
    with worker(environment(server.url, provider.api_url), tmp_path / "worker.log") as running:
        before = running.rss_mb()
        bomb = zlib.compress(b" " * (200 * MAX_BODY), 9)
        with server.client() as database:
            database.lpush("scaleout", json.dumps(message(bomb, "bomb", compression="application/x-gzip")))
        eventually(lambda: bool(running.events("message_dead_lettered")), "it is a dead letter")
        assert send(client, "after").get(timeout=40)["status"] == "succeeded"

        assert running.rss_mb() < before + 60


@pytest.mark.timeout(120)
def test_producers_are_told_though_the_public_outcome_was_deleted(
    server: DurableServer, client: Celery, provider: Simulator, tmp_path: Path
) -> None:
    with server.client() as database, worker(environment(server.url, provider.api_url), tmp_path / "w.log"):
        outcome = send(client, "r1").get(timeout=40)
        database.delete("scaleout:outcome:r1")

        assert send(client, "r1").get(timeout=20) == outcome
        assert provider.nodes() == 2


@pytest.mark.timeout(120)
def test_the_id_of_a_schedules_request_cannot_be_taken_by_a_producer(
    server: DurableServer, client: Celery, provider: Simulator, tmp_path: Path
) -> None:
    with server.client() as database, worker(environment(server.url, provider.api_url), tmp_path / "w.log"):
        outcome = send(client, "schedule:nightly:20261126T200000Z").get(timeout=40)

        assert (outcome["status"], outcome["error"]["kind"]) == ("rejected", "invalid")
        assert "those of schedules" in outcome["error"]["message"]
        assert not database.exists("scaleout:request:schedule:nightly:20261126T200000Z")


@pytest.mark.timeout(180)
def test_invalid_requests_block_no_worker_while_the_result_store_is_away(
    server: DurableServer, provider: Simulator, tmp_path: Path
) -> None:
    with durable_server(tmp_path / "results") as results:
        env = environment(server.url, provider.api_url, RESULT_BACKEND=results.url)
        with (
            Celery(broker=server.url, set_as_current=False) as producer,
            worker(env, tmp_path / "w.log") as running,
            server.client() as database,
        ):
            results.kill()
            invalid = [send(producer, f"bad-{number}", node_count=0) for number in range(12)]
            send(producer, "good")
            eventually(lambda: bool(database.exists("scaleout:outcome:good")), "a valid one is done", 30)
            results.start()

            with Celery(backend=results.url, set_as_current=False) as reader:
                told = [reader.AsyncResult(one.id).get(timeout=60) for one in invalid]
            assert {outcome["status"] for outcome in told} == {"rejected"}
            assert len(running.events("results_unreachable")) == 1
            eventually(lambda: len(running.events("results_reachable")) == 1, "it says that this is over")


def test_autoscale_which_threads_cannot_do_is_refused_at_start(
    server: DurableServer, provider: Simulator, tmp_path: Path
) -> None:
    arguments = ["-m", "celery", "-A", "workers", "worker", "--autoscale", "4,1"]
    env = environment(server.url, provider.api_url)

    with process(arguments, env, tmp_path / "w.log") as started:
        assert started.popen.wait(30) == 1
    assert "--autoscale is not supported" in started.text()
    assert "Traceback" not in started.text()
