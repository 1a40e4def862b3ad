"""What others may put into the queue's list must never stop a worker."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support import command_line
from tests.support.processes import Process, environment, eventually, worker


@pytest.fixture
def running(redis_url: str, tmp_path: Path) -> Iterator[Process]:
    env = environment(redis_url, "http://127.0.0.1:1/api")
    with worker(env, tmp_path / "worker.log") as started:
        yield started


def message(body: object, headers: object = None, encoding: str | None = "base64", **properties: Any) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    encoded = base64.b64encode(text.encode()).decode() if encoding == "base64" else text
    return json.dumps(
        {
            "body": encoded,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {} if headers is None else headers,
            "properties": {
                "body_encoding": encoding,
                "delivery_info": {"exchange": "", "routing_key": "scaleout"},
                "delivery_tag": f"tag-{abs(hash(text))}",
                "correlation_id": "x",
                "reply_to": "y",
                **properties,
            },
        }
    )


HEADERS = {"lang": "py", "task": "scaleout.add_nodes", "id": "t-1"}

NONSENSE: dict[str, str | bytes] = {
    "not JSON": "hello",
    "cut off JSON": '{"body": "abc',
    "bytes that are no text": b"\xff\xfe\x00garbage",
    "an empty string": "",
    "a number": "17",
    "a list": "[1, 2]",
    "JSON null": "null",
    "an object without properties": "{}",
    "properties that are no object": '{"body": "", "headers": {}, "properties": []}',
    "no delivery tag": '{"body": "", "headers": {}, "properties": {"delivery_info": {}}}',
    "a tagged value that cannot be decoded": '{"__type__": "uuid", "__value__": {"hex": "zz"}}',
    "such a value with its tag escaped": '{"\\u005f_type__": "uuid", "__value__": {"hex": "zz"}}',
    "an unknown body encoding": message([[], {}, {}], HEADERS, encoding="rot13"),
    "a body that is not base64": message([[], {}, {}], HEADERS).replace('"body": "', '"body": "é!'),
    "headers that are a list": message([[], {}, {}], ["task"]),
    "no task header": message([[], {}, {}], {"id": "t-2"}),
    "an unknown task": message([[], {}, {}], {**HEADERS, "task": "rm.minus.rf", "id": "t-3"}),
    "a body that is not JSON": message("nonsense", {**HEADERS, "id": "t-4"}),
    "a body that is no triple": message([1, 2], {**HEADERS, "id": "t-5"}),
    "keyword arguments that are a list": message([[], [1], {}], {**HEADERS, "id": "t-6"}),
    "a content type that is not accepted": message([[], {}, {}], {**HEADERS, "id": "t-7"}).replace(
        "application/json", "application/x-python-serialize"
    ),
    "no id": message([[], {}, {}], {"lang": "py", "task": "scaleout.add_nodes"}),
    "an ETA that is no time": message([[], {}, {}], {**HEADERS, "id": "t-8", "eta": "tomorrow"}),
}


def test_a_worker_outlives_every_kind_of_nonsense_and_goes_on_working(
    running: Process, server: redis.Redis, redis_url: str
) -> None:
    for item in NONSENSE.values():
        server.lpush("scaleout", item)
        server.lpush("scaleout.sweep", item)
    client = Celery(broker=redis_url, backend=redis_url)
    result = client.send_task("scaleout.add_nodes", kwargs={"cluster_id": "?"}, queue="scaleout")

    outcome = result.get(timeout=30)

    assert outcome["status"] == "rejected"
    eventually(lambda: server.llen("scaleout") == 0 and server.llen("scaleout.sweep") == 0, "all is consumed")
    assert running.alive()


@pytest.mark.parametrize(
    "what",
    [
        "not JSON",
        "a list",
        "an unknown body encoding",
        "no task header",
        "an unknown task",
        "a body that is no triple",
    ],
)
def test_a_malformed_message_is_logged_kept_and_counted(
    running: Process, server: redis.Redis, what: str
) -> None:
    server.lpush("scaleout", NONSENSE[what])

    eventually(lambda: server.llen("scaleout:dead-letters") == 1, "it is a dead letter")

    assert server.hget("scaleout:counters", "messages_dead_lettered") == "1"
    (line,) = running.events("message_dead_lettered")
    assert line["level"] == "error"
    assert json.loads(server.lindex("scaleout:dead-letters", 0) or "")["reason"]
    assert running.alive()


def scaleout(env: dict[str, str], *arguments: str) -> Any:
    done = command_line.scaleout(env, "dead-letters", *arguments, "--json")
    assert done.code == 0, done.err
    return done.json()


def test_a_task_whose_message_cannot_be_read_fails_and_its_message_is_kept(
    running: Process, server: redis.Redis, redis_url: str
) -> None:
    env = environment(redis_url, "http://127.0.0.1:1/api")
    unread = message([[], {}, {}], {**HEADERS, "id": "t-yaml"}).replace(
        "application/json", "application/x-yaml"
    )
    server.lpush("scaleout", unread)

    with Celery(broker=redis_url, backend=redis_url) as client:
        result = client.AsyncResult("t-yaml")
        eventually(result.ready, "it has failed")
        assert result.state == "FAILURE"
        assert "cannot be read" in str(result.result)
    (letter,) = scaleout(env, "list")
    assert (letter["task_id"], letter["queue"]) == ("t-yaml", "scaleout")
    assert scaleout(env, "show", letter["id"]) == letter

    assert scaleout(env, "requeue", letter["id"])["requeued"]
    eventually(lambda: len(running.events("message_dead_lettered")) == 2, "it has been read again")
    assert scaleout(env, "clear", "--yes") == {"cleared": 1}
    assert scaleout(env, "list") == []


def test_times_that_celery_can_read_stop_no_worker(
    running: Process, server: redis.Redis, redis_url: str
) -> None:
    """Celery reads more forms of ISO 8601 than Python does."""
    for number, eta in enumerate(["2020-01", "20200101T00", "0001-01-01T00:00:00+14:00"]):
        body = [[], {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}, {}]
        server.lpush("scaleout", message(body, {**HEADERS, "id": f"t-{number}", "eta": eta}))
    with Celery(broker=redis_url, set_as_current=False) as client:
        kwargs = {"cluster_id": "ehpc-a", "zone": "jn1a", "node_count": 1}
        kwargs["not_before"] = "9999-12-31T23:59:59-14:00"
        client.send_task("scaleout.add_nodes", kwargs=kwargs, queue="scaleout", task_id="t-last")

    eventually(lambda: bool(server.exists("scaleout:outcome:t-last")), "the last one is answered")
    accepted = {line["request_id"] for line in running.events("request_accepted")}
    assert accepted == {"t-0", "t-1", "t-2"}
    assert running.events("message_not_handled") == []
