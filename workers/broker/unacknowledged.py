"""Messages that are delivered and not acknowledged yet."""

import contextlib
from pathlib import Path
from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

MOVE_OLD = (Path(__file__).parent / "lua" / "move_old.lua").read_text(encoding="utf-8")
OLD_KEYS = ("unacked", "unacked_index")  # kombu's names; versions before 0.2 used them
ACKNOWLEDGE = "return redis.call('ZREM', KEYS[1], ARGV[1]) + redis.call('HDEL', KEYS[2], ARGV[1])"


class QoS(kombu_redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Messages that are delivered and not acknowledged yet."""

    def append(self, message: Any, delivery_tag: str) -> None:
        is_noted, self.channel.is_noted = self.channel.is_noted, False
        if is_noted:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge by one command; kombu's transaction takes four."""
        keys = (self.unacked_index_key, self.unacked_key)
        try:
            with self.channel.conn_or_acquire() as client:
                client.execute_command("EVAL", ACKNOWLEDGE, len(keys), *keys, delivery_tag)
            self.channel.pause.end()
        finally:
            # If it failed, the message is delivered again; its prefetch slot is free in any case.
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            # It failed for a reason that will not be gone at once, such as a ledger that cannot be reached.
            self.channel.pause.extend()
        try:
            super().reject(delivery_tag, requeue=requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Do as kombu does, by the server's clock: a worker whose clock is fast may have died."""
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        # An idle worker has seen that nothing is noted, by this version or an earlier one.
        if self.channel.saw_nothing():
            return
        with self.channel.conn_or_acquire() as client, contextlib.suppress(kombu_redis.MutexHeld):
            seconds, micros = client.time()
            noted_until = seconds + micros / 1_000_000 - self.visibility_timeout
            with kombu_redis.Mutex(client, self.unacked_mutex_key, self.unacked_mutex_expire):
                tags = client.zrange(
                    self.unacked_index_key, "-inf", noted_until, byscore=True, offset=num and start, num=num
                )
                for tag in tags:
                    self.restore_by_tag(tag, client)
                keys = (self.unacked_key, self.unacked_index_key)
                if keys != OLD_KEYS:
                    queues = list(self.channel.active_queues)
                    client.eval(MOVE_OLD, 4, *OLD_KEYS, *keys, noted_until, *queues)
