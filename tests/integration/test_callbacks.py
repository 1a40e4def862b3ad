"""What is sent when a request ends, on a real broker."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery

from tasks.engine.callbacks import send_callbacks

LINK, ERROR = (
    {"task": f"producer.{name}", "args": [], "kwargs": {}, "options": {}} for name in ("link", "error")
)


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    with Celery(broker=redis_url, backend=redis_url, set_as_current=False) as opened:
        yield opened


def sent(server: redis.Redis, queue: str = "celery") -> list[str]:
    return [json.loads(text)["headers"]["task"] for text in server.lrange(queue, 0, -1)]


@pytest.mark.parametrize(
    ("status", "follows"),
    [
        ("succeeded", "link"),
        ("partially_succeeded", "link"),
        ("accepted", "link"),
        ("waiting", "link"),
        ("rejected", "error"),
        ("cancelled", "error"),
    ],
)
def test_what_follows_goes_by_the_status(app: Celery, server: redis.Redis, status: str, follows: str) -> None:
    send_callbacks(app, "t-1", {"callbacks": [LINK], "errbacks": [ERROR]}, {"status": status})

    assert sent(server) == [f"producer.{follows}"]


@pytest.mark.parametrize("bad", [5, "text", {"no": "task"}, None], ids=repr)
def test_one_that_cannot_be_sent_stops_no_other(app: Celery, server: redis.Redis, bad: Any) -> None:
    send_callbacks(app, "t-1", {"callbacks": [bad, LINK], "chain": [LINK, bad]}, {"status": "succeeded"})

    assert sent(server) == ["producer.link"]


def test_a_queue_that_is_named_is_kept(app: Celery, server: redis.Redis) -> None:
    named = {**LINK, "options": {"queue": "my-service"}}

    send_callbacks(app, "t-1", {"callbacks": [named]}, {"status": "succeeded"})

    assert (sent(server), sent(server, "my-service")) == ([], ["producer.link"])
