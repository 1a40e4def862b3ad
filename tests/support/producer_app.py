"""A producer's own Celery app, whose tasks are linked to requests. It notes what they are called with."""

import json
import os
from typing import Any

import redis
from celery import Celery

URL = os.environ.get("PRODUCER_URL", "redis://127.0.0.1:1/0")
CALLS = "producer-calls"
KEPT_S = 600

app = Celery("producer", broker=URL, backend=URL, set_as_current=False)


def _note(name: str, given: Any) -> Any:
    with redis.Redis.from_url(URL) as client, client.pipeline() as pipe:
        pipe.rpush(CALLS, json.dumps([name, given])).expire(CALLS, KEPT_S).execute()
    return given


@app.task(name="producer.linked")  # type: ignore[untyped-decorator]  # Celery has no types
def linked(given: Any) -> Any:
    return _note("linked", given)


@app.task(name="producer.failed")  # type: ignore[untyped-decorator]  # Celery has no types
def failed(given: Any) -> Any:
    return _note("failed", given)


@app.task(name="producer.body")  # type: ignore[untyped-decorator]  # Celery has no types
def body(given: Any) -> Any:
    return _note("body", given)
