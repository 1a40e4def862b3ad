"""Keep messages that cannot be decoded: the last ones in a list, and their number."""

import json
import threading

import redis
import structlog

from config.logs.redaction import redact
from config.settings import LedgerSettings
from config.timestamps import timestamp
from tasks.ledger.keys import Keys

log = structlog.get_logger(__name__)

KEEP_LAST = 1_000
MAX_CHARS = 16_384
SHOWN_CHARS = 200


class DeadLetters:
    """Written by the worker's consumer; read by `scaleout doctor`."""

    def __init__(self, settings: LedgerSettings) -> None:
        self._url = settings.redis_url.get_secret_value()
        self._keys = Keys(settings.key_prefix)
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None

    def keep(self, reason: str, queue: str, item: str) -> None:
        """Log, keep and count it. Never raises: the worker must continue."""
        log.error("message_dead_lettered", reason=reason, queue=queue, item=item[:SHOWN_CHARS])
        try:
            client = self._connected()
            seconds, micros = client.time()
            entry = {
                "at": timestamp(seconds * 1000 + micros // 1000),
                "reason": reason,
                "queue": queue,
                "item": redact(item[:MAX_CHARS]),
            }
            with client.pipeline() as pipe:
                pipe.lpush(self._keys.dead_letters, json.dumps(entry))
                pipe.ltrim(self._keys.dead_letters, 0, KEEP_LAST - 1)
                pipe.hincrby(self._keys.counters, "messages_dead_lettered", 1)
                pipe.execute()
        except redis.RedisError as error:
            log.warning("dead_letter_not_kept", detail=str(error))

    def _connected(self) -> redis.Redis:
        with self._lock:
            if self._client is None:
                self._client = redis.Redis.from_url(
                    self._url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2
                )
            return self._client
