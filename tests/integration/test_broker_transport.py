"""The workers' transport: no message is lost on its way, and the rest is as kombu's own."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer, Producer, Queue
from kombu.asynchronous import Hub

from tests.support.durable_server import durable_server
from tests.support.ports import free_port
from tests.support.processes import environment, eventually, worker
from workers.broker.message_check import MalformedMessage, check_message
from workers.broker.transport import CLAIM, MAX_WAIT_S, TRANSPORT, _Step

QUEUES = ("one", "two")


def connect(redis_url: str, **options: Any) -> Connection:
    transport_options = {"unacked_restore_throttle": 1, **options}
    return Connection(redis_url, transport=TRANSPORT, transport_options=transport_options)


@pytest.fixture
def connection(redis_url: str) -> Iterator[Connection]:
    with connect(redis_url) as opened:
        yield opened


def put(connection: Connection, body: str, queue: str = "one", **options: Any) -> None:
    Producer(connection.default_channel).publish(body, routing_key=queue, serializer="json", **options)


def drain(connection: Connection, until: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not until():
        assert time.monotonic() < deadline, "nothing more came"
        try:
            connection.drain_events(timeout=0.1)
        except TimeoutError:
            continue


def consumer(connection: Connection, heard: list[str], *queues: str, no_ack: bool = False) -> Consumer:
    def on_message(message: Any) -> None:
        heard.append(message.decode())
        if not no_ack:
            message.ack()

    wanted = [Queue(name) for name in queues or QUEUES]
    return Consumer(connection.default_channel, wanted, on_message=on_message, no_ack=no_ack)


def test_a_message_whose_taker_never_hears_of_it_comes_to_another_one(
    redis_url: str, connection: Connection, server: redis.Redis
) -> None:
    put(connection, "precious")
    with connect(redis_url) as dead:
        taker = consumer(dead, [])
        taker.consume()
        # It asks, the server answers, and the answer is never read: a frozen connection, seen from Redis.
        dead.default_channel.client.connection = dead.default_channel.client.connection_pool.get_connection()
        dead.default_channel._brpop_start()
        eventually(lambda: server.llen("one") == 0, "the message is taken")
        assert server.hlen("unacked") == 1
        assert server.zcard("unacked_index") == 1
        heard: list[str] = []
        with connect(redis_url, visibility_timeout=0) as living, consumer(living, heard):
            drain(living, lambda: heard == ["precious"])
        dead.default_channel._in_poll = None
    assert server.hlen("unacked") == 0


def test_messages_arrive_in_order_from_every_queue_until_acknowledged(
    connection: Connection, server: redis.Redis
) -> None:
    for number in range(5):
        for queue in QUEUES:
            put(connection, f"{queue} {number}", queue)
    heard: list[str] = []
    with consumer(connection, heard):
        drain(connection, lambda: len(heard) == 10)
    for queue in QUEUES:
        assert [text for text in heard if text.startswith(queue)] == [f"{queue} {n}" for n in range(5)]
    # In turns: a busy queue does not keep the other one waiting.
    assert {text.split()[0] for text in heard[:2]} == set(QUEUES)
    assert not server.exists("unacked", "unacked_index")


def test_what_is_urgent_comes_first(connection: Connection) -> None:
    for priority in (9, 3, 0, 6):
        put(connection, f"priority {priority}", priority=priority)
    heard: list[str] = []
    with consumer(connection, heard):
        drain(connection, lambda: len(heard) == 4)
    assert heard == [f"priority {priority}" for priority in (0, 3, 6, 9)]


@pytest.mark.parametrize("queue", QUEUES)
def test_a_message_wakes_a_consumer_that_waits(redis_url: str, connection: Connection, queue: str) -> None:
    heard: list[str] = []
    with consumer(connection, heard):
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.5)
        with connect(redis_url) as other:
            put(other, "wake up", queue)
        began = time.monotonic()
        drain(connection, lambda: bool(heard))
    assert time.monotonic() - began < 1.0


def test_a_consumer_that_is_told_waits_no_longer(redis_url: str) -> None:
    heard: list[str] = []
    with connect(redis_url, awaited_queue="one") as connection, consumer(connection, heard):
        channel = connection.default_channel
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.2)
        channel._wait_s = MAX_WAIT_S
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.6)
        with connect(redis_url) as other:
            put(other, "told", "two")
        began = time.monotonic()
        teller = threading.Thread(target=channel.tell)
        teller.start()
        drain(connection, lambda: bool(heard))
        teller.join()
    assert time.monotonic() - began < MAX_WAIT_S / 2


def test_telling_a_consumer_that_has_lost_its_connection_does_no_harm(redis_url: str) -> None:
    connection = connect(redis_url)
    channel = connection.default_channel
    with consumer(connection, []), pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.2)
    assert channel._waits_on[1] is not None
    connection.close()
    channel._sent = _Step.WAIT

    channel.tell()


def test_what_needs_no_acknowledgement_is_not_kept_for_one(
    connection: Connection, server: redis.Redis
) -> None:
    put(connection, "reply")
    heard: list[str] = []
    with consumer(connection, heard, no_ack=True):
        drain(connection, lambda: heard == ["reply"])
    assert not server.exists("unacked", "unacked_index")


@pytest.mark.permanent_keys("one")
def test_no_more_is_taken_than_the_consumer_has_room_for(connection: Connection, server: redis.Redis) -> None:
    for number in range(5):
        put(connection, f"message {number}")
    waiting: list[Any] = []
    taker = Consumer(connection.default_channel, [Queue("one")], on_message=waiting.append)
    taker.qos(prefetch_count=2)
    with taker:
        drain(connection, lambda: len(waiting) == 2)
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.5)
        assert (server.llen("one"), server.hlen("unacked")) == (3, 2)
        for message in waiting[:2]:
            message.ack()
        drain(connection, lambda: len(waiting) == 4)


def test_a_message_is_noted_once_and_forgotten_when_it_is_acknowledged(
    connection: Connection, server: redis.Redis
) -> None:
    waiting: list[Any] = []
    taker = Consumer(connection.default_channel, [Queue("one")], on_message=waiting.append)
    with taker:
        put(connection, "once")
        server.config_resetstat()
        drain(connection, lambda: bool(waiting))
        waiting[0].ack()

    counts = {name: row["calls"] for name, row in server.info("commandstats").items()}
    assert (counts["cmdstat_zadd"], counts["cmdstat_hset"]) == (1, 1)
    assert (counts["cmdstat_zrem"], counts["cmdstat_hdel"]) == (1, 1)
    assert not server.exists("unacked", "unacked_index")


def test_what_is_fetched_by_hand_is_noted_too(connection: Connection, server: redis.Redis) -> None:
    channel = connection.default_channel
    Queue("one", channel=channel).declare()
    heard: list[str] = []
    put(connection, "first")
    with consumer(connection, heard):
        drain(connection, lambda: heard == ["first"])
    put(connection, "by hand")

    message = channel.basic_get("one")

    assert server.hexists("unacked", message.delivery_tag)
    channel.basic_ack(message.delivery_tag)
    assert not server.exists("unacked", "unacked_index")


def test_a_dead_letter_is_not_delivered_again(connection: Connection, server: redis.Redis) -> None:
    put(connection, "sound")
    sound = server.lindex("one", 0)
    assert sound is not None
    # Enough of a message to be noted as unacknowledged, and not enough to be one.
    server.lpush("one", str(sound).replace('"body": "', '"body": "é!'))
    heard: list[str] = []
    with consumer(connection, heard):
        drain(connection, lambda: bool(heard) and server.llen("one") == 0)
    assert not server.exists("unacked", "unacked_index")


def test_work_over_a_closed_connection_fails_as_a_broken_connection(
    redis_url: str, connection: Connection, server: redis.Redis
) -> None:
    """Anything else ends a worker that is busy when it loses its connection."""
    put(connection, "under way")
    waiting: list[Any] = []
    with connect(redis_url) as lost:
        Consumer(lost.default_channel, [Queue("one")], on_message=waiting.append).consume()
        drain(lost, lambda: bool(waiting))
        lost.default_channel.do_restore = False
        lost.collect()

        with pytest.raises(connection.connection_errors):
            waiting[0].ack()
        with pytest.raises(connection.connection_errors):
            waiting[0].requeue()
    assert server.hlen("unacked") == 1


@pytest.mark.parametrize("end", ["ack", "requeue", "reject"])
def test_a_message_that_cannot_be_restored_frees_its_prefetch_slot(
    redis_url: str, connection: Connection, end: str
) -> None:
    put(connection, "under way")
    waiting: list[Any] = []
    with connect(redis_url) as lost:
        channel = lost.default_channel
        channel.basic_qos(0, 1, False)
        Consumer(channel, [Queue("one")], on_message=waiting.append).consume()
        drain(lost, lambda: bool(waiting))
        assert not channel.qos.can_consume()
        channel.do_restore = False
        lost.collect()

        with pytest.raises(connection.connection_errors):
            getattr(waiting[0], end)()
        assert channel.qos.can_consume()


def test_workers_answer_to_remote_control_from_any_client(redis_url: str, tmp_path: Path) -> None:
    env = environment(redis_url, "http://127.0.0.1:1/api")
    with (
        worker(env, tmp_path / "worker.log", "--hostname", "it@here"),
        Celery(broker=redis_url, set_as_current=False) as client,
    ):
        inspect = client.control.inspect(timeout=3)

        assert inspect.ping() == {"it@here": {"ok": "pong"}}
        (queues,) = (inspect.active_queues() or {}).values()
        assert {queue["name"] for queue in queues} == {"scaleout", "scaleout.sweep"}


def test_an_item_that_only_python_can_decode_is_noted_too(server: redis.Redis) -> None:
    item = (
        '{"body": "W10=", "headers": {"argsrepr": "\\ud800"}, "properties": {"delivery_tag": "t-1", '
        '"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "scaleout"}}}'
    )
    check_message(item)
    server.lpush("scaleout", item)

    server.eval(CLAIM, 3, "unacked", "unacked_index", "scaleout", "1")

    assert json.loads(str(server.hget("unacked", "t-1")))[1:] == ["", "scaleout"]
    assert abs(float(server.zscore("unacked_index", "t-1") or 0) - server.time()[0]) < 60


@pytest.mark.parametrize("name", ["exchange", "routing_key"])
def test_an_item_that_does_not_say_where_it_belongs_is_no_message(name: str) -> None:
    delivery = {"exchange": "", "routing_key": "scaleout", name: None}
    properties = {"delivery_tag": "t-1", "body_encoding": "base64", "delivery_info": delivery}

    with pytest.raises(MalformedMessage):
        check_message(json.dumps({"body": "W10=", "headers": {}, "properties": properties}))


def test_a_misspelt_setting_is_reported_when_the_worker_starts(redis_url: str, tmp_path: Path) -> None:
    env = {**environment(redis_url, "http://127.0.0.1:1/api"), "SCALEOUT_POL_INTERVAL_S": "1"}
    with worker(env, tmp_path / "worker.log") as started:
        eventually(lambda: "SCALEOUT_POL_INTERVAL_S" in started.text(), "the warning")


def test_workers_do_not_listen_to_one_anothers_heartbeats(redis_url: str, tmp_path: Path) -> None:
    env = environment(redis_url, "http://127.0.0.1:1/api")
    with (
        worker(env, tmp_path / "one.log", "--hostname", "one@here"),
        worker(env, tmp_path / "two.log", "--hostname", "two@here"),
        redis.Redis.from_url(redis_url, decode_responses=True) as server,
    ):
        # One is remote control's; events would be another.
        assert server.pubsub_numpat() == 1


@pytest.mark.parametrize("code", ["READONLY", "NOREPLICAS", "OOM"])
def test_a_refused_transaction_is_a_lost_connection_to_celery(tmp_path: Path, code: str) -> None:
    """A queue is declared by one: as any other error it would end the worker."""
    with durable_server(tmp_path / "server") as broker, connect(broker.url) as connection:
        channel = connection.default_channel
        with broker.client() as client:
            if code == "READONLY":
                client.replicaof("127.0.0.1", free_port())
            else:
                limit = {"NOREPLICAS": ("min-replicas-to-write", 1), "OOM": ("maxmemory", 1)}[code]
                client.config_set(*limit)

        with pytest.raises(connection.connection_errors, match=code):
            channel._queue_bind("one", "one", "", "one")


def test_a_closed_connection_leaves_nothing_in_the_event_loop(redis_url: str) -> None:
    loop = Hub()
    for _ in range(3):
        with connect(redis_url) as opened:
            opened.transport.register_with_event_loop(opened.connection, loop)
            assert len(loop.on_tick) == 1

    assert not loop.on_tick
