"""Keep messages that cannot be decoded: the last ones in a list, and their number."""

import base64
import json
import secrets
import threading
from typing import Any

import redis
import structlog

from config.logs.redaction import redact
from config.settings import LedgerSettings
from config.timestamps import timestamp
from tasks.engine.celery_results import FAILURE
from tasks.ledger.due import OUTBOX
from tasks.ledger.keys import Keys
from tasks.ledger.outcome_entries import ANSWER, MIN_RECORDS_TTL_S
from tasks.runtime.redis_servers import blocking_client

log = structlog.get_logger(__name__)

KEEP_LAST = 1_000
MAX_CHARS = 16_384
MAX_ID_CHARS = 255
SHOWN_CHARS = 200


class DeadLetters:
    """Written by the worker's consumer; read by `scaleout dead-letters`."""

    def __init__(self, settings: LedgerSettings) -> None:
        self._url = settings.ledger_address
        self._keys = Keys(settings.key_prefix)
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None

    def keep(self, reason: str, queue: str, item: str, task_id: str | None = None) -> None:
        """Log, keep and count it. Never raises: the worker must continue.

        Args:
            item: the message as it is in the broker.
            task_id: its task, if that can be read: it fails with the reason, and waits no longer.
        """
        log.error("message_dead_lettered", reason=reason, queue=queue, item=item[:SHOWN_CHARS])
        try:
            client = self._connected()
            now = _now_ms(client)
            kept = redact(item[:MAX_CHARS])
            entry = {
                "id": secrets.token_hex(4),
                "at": timestamp(now),
                "reason": reason,
                "queue": queue,
                "task_id": task_id,
                "whole": kept == item,
                "item": kept,
            }
            with client.pipeline() as pipe:
                pipe.lpush(self._keys.dead_letters, json.dumps(entry))
                pipe.ltrim(self._keys.dead_letters, 0, KEEP_LAST - 1)
                pipe.hincrby(self._keys.counters, "messages_dead_lettered", 1)
                if task_id is not None and self._has_no_request(client, task_id):
                    answer = json.dumps({FAILURE: f"the message cannot be read: {reason}"})
                    pipe.set(self._keys.answer(task_id), answer, ex=MIN_RECORDS_TTL_S)
                    pipe.zadd(self._keys.outbox, {f"{task_id} {ANSWER}": now})
                    pipe.zadd(self._keys.due(OUTBOX.lane), {str(OUTBOX): now})
                pipe.execute()
        except redis.RedisError as error:
            log.warning("dead_letter_not_kept", detail=str(error))

    def _has_no_request(self, client: redis.Redis, task_id: str) -> bool:
        """Return whether no message of this task was accepted, whose caller waits for its outcome."""
        return not client.hexists(self._keys.caller(task_id), "request_id")

    def _connected(self) -> redis.Redis:
        with self._lock:
            if self._client is None:
                self._client = blocking_client(
                    self._url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2
                )
            return self._client


def readable_task_id(headers: Any, properties: Any = None) -> str | None:
    """Return the id of the task in a message's headers or properties, if there is one."""
    found = headers.get("id") if isinstance(headers, dict) else None
    if found is None and isinstance(properties, dict):
        found = properties.get("correlation_id")
    usable = isinstance(found, str) and 0 < len(found) <= MAX_ID_CHARS and found.isprintable()
    return found if usable else None


def raw_message(message: Any) -> str:
    """Return a message that kombu has taken apart as it is in the broker."""
    body = message.body
    raw = body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")
    parts = {
        "body": base64.b64encode(raw).decode(),
        "content-encoding": message.content_encoding,
        "content-type": message.content_type,
        "headers": message.headers,
        "properties": {**(message.properties or {}), "body_encoding": "base64"},
    }
    return json.dumps(parts, default=repr)


def _now_ms(client: redis.Redis) -> int:
    """Return the server's time in ms."""
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000
