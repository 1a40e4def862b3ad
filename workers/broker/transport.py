"""Celery's broker on Redis, without seven weaknesses of kombu's transport.

- kombu takes a message with BRPOP and then notes it as unacknowledged. If the connection freezes or the
  process dies in between, the message is lost. Here one script does both, and blocking commands take nothing.
- kombu makes a new client for each message that it notes or acknowledges. Here one client is kept, and taking
  and acknowledging are one round trip each.
- kombu raises on an item that is not a message, and the worker exits. Here such an item is a dead letter.
- kombu raises AttributeError when a message is acknowledged or restored over a lost connection, and the
  worker exits. Here the error is a lost connection's, and the worker reconnects.
- The worker exits when the server answers that it cannot now: out of memory, read-only, loading. Here nothing
  is taken then, and the worker tries again after a pause that grows.
- kombu notes and restores messages by the clocks of the workers' machines. Here the server's clock counts.
- kombu leaves a callback in the event loop for each connection that was lost. It keeps the connection's
  objects, and is called at each turn of the loop. Here it goes with its connection.

docs/decisions/own-broker-transport.md names what it relies on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from enum import Enum, auto
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from tasks.runtime.redis_refusals import ServerRefuses
from workers.broker.broker_client import ReadsForItsChannel
from workers.broker.dead_letters import readable_task_id
from workers.broker.message_check import MalformedMessage, check_message
from workers.broker.pause import Pause
from workers.broker.unacknowledged import OLD_KEYS, QoS

TRANSPORT = f"{__name__}:Transport"
SENTINEL_TRANSPORT = f"{__name__}:SentinelTransport"
CLAIM = (Path(__file__).parent / "lua" / "claim.lua").read_text(encoding="utf-8")
FIRST_WAIT_S, MAX_WAIT_S = 0.5, 3.0  # less than the sockets' timeout
TELL_TIMES, TELL_EVERY_S = 4, 0.02

log = structlog.get_logger(__name__)

OnDeadLetter = Callable[[str, str, str, str | None], None]

_listeners: list[OnDeadLetter] = []


def install() -> None:
    """Use this transport for the URLs that kombu's own is for, in this process.

    Named in a setting instead, it would be in the URL that tools such as Flower read.
    """
    TRANSPORT_ALIASES.update(redis=TRANSPORT, rediss=TRANSPORT, sentinel=SENTINEL_TRANSPORT)


def send_dead_letters_to(keep: OnDeadLetter) -> None:
    """Have `keep(reason, queue, item, task_id)` called for each item that is not a message."""
    _listeners[:] = [keep]


class _Step(Enum):
    """What a channel asks the server, one after the other."""

    CLAIM = auto()
    WAIT = auto()
    LOOK = auto()


class Channel(kombu_redis.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel that loses no message and survives malformed ones.

    It claims a message. If there is none, it waits for one in one of its queues: no Redis command waits for
    several lists without taking from them. Then it looks, by one command, whether any list has one, and
    claims again if so. Each wait is longer than the one before, until a message comes, or until it is told
    that one is in another of its queues.

    Fields:
        awaited_queue: the queue that it waits for, of several; an option of the transport.
        is_noted: the server has noted the last message that was read as unacknowledged.
    """

    QoS = QoS
    awaited_queue = ""
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "awaited_queue")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.is_noted = False
        self.pause = Pause()
        self._plain_client: Any = None
        self._without_ack: set[str] = set()
        self._sent = self._next = _Step.CLAIM
        self._refused_waiting = False
        self._wait_s = FIRST_WAIT_S
        self._found_nothing_at = 0.0
        self._told = False
        self._waits_on: tuple[Any, int | None] = (None, None)
        super().__init__(*arguments, **options)

    def basic_consume(self, queue: str, *arguments: Any, no_ack: bool = False, **options: Any) -> Any:
        (self._without_ack.add if no_ack else self._without_ack.discard)(queue)
        return super().basic_consume(queue, *arguments, no_ack=no_ack, **options)

    @contextlib.contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Do as kombu does, but raise a connection error for a closed connection."""
        if client is None and (self.connection is None or self.connection.client is None):
            raise RedisConnectionError("the channel's connection to the broker was lost and closed")
        with super().conn_or_acquire(client) as acquired:
            yield acquired

    def refused(self, refusal: ServerRefuses) -> None:
        """Take nothing for a while: the server has answered that it cannot now."""
        if not self.pause.refused:
            log.warning("broker_refuses", code=refusal.code, detail=str(refusal))
        self.pause.refused, self._refused_waiting = True, self._sent is _Step.WAIT
        self.pause.extend()

    def saw_nothing(self) -> bool:
        """Return whether a look has just found no message, neither in the lists nor noted."""
        return monotonic() - self._found_nothing_at < MAX_WAIT_S + 1

    def taken(self, reply: Any) -> Any:
        """Return `(list, item)` if the reply has a message. The end of a wait has none."""
        # What finds nothing writes nothing: it succeeds where waiting is refused.
        if self.pause.refused and ((self._sent is _Step.WAIT) is self._refused_waiting or reply):
            log.info("broker_accepts")
            self.pause.refused = False
        if self._sent is _Step.WAIT:
            self._next = _Step.CLAIM if reply else _Step.LOOK
            return None
        self._next = _Step.CLAIM if reply else _Step.WAIT
        if self._sent is _Step.LOOK and not reply:
            self._found_nothing_at = monotonic()
        if not reply or self._sent is _Step.LOOK:
            return None
        self._wait_s = FIRST_WAIT_S
        queue, item, in_journal = reply
        self.is_noted = bool(in_journal)
        return self.readable(queue, item)

    def popped(self, item: bytes | str) -> Any:
        """Return an item that was taken by another command than our script."""
        self.is_noted = False
        return self.readable("", item)

    def readable(self, queue: bytes | str, item: bytes | str) -> Any:
        """Return an item in kombu's form; None if it is malformed and now a dead letter."""
        try:
            check_message(item)
        except MalformedMessage as error:
            for keep in _listeners:
                keep(str(error), bytes_to_str(queue), _text(item), _task_id_in(item))
            self._forget(item)
            return None
        return (queue, item) if queue else item

    def _brpop_start(self, timeout: float | None = None) -> None:  # noqa: ARG002 - kombu's signature
        """Claim, or wait: send one command, whose reply `taken` gets."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues or self.pause.lasts():
            return
        self._sent, self._next = self._next, _Step.CLAIM
        if self._sent is not _Step.CLAIM and self._told:
            self._sent = _Step.CLAIM
        if self._sent is _Step.CLAIM:
            self._told = False
        kept = [(self._q_for_pri(queue, step), queue) for step in self.priority_steps for queue in queues]
        lists = [key for key, _ in kept]
        command: list[Any]
        if self._sent is _Step.WAIT:
            # Moving the last item to its own place wakes up and changes nothing.
            watched = self.awaited_queue if self.awaited_queue in queues else queues[0]
            command = ["BLMOVE", watched, watched, "RIGHT", "RIGHT", self._wait_s]
            self._wait_s = min(MAX_WAIT_S, 2 * self._wait_s)
            self._note_client()
            self._queue_cycle.rotate(queues[0])
        elif self._sent is _Step.LOOK:
            # And whether messages are noted: then there may be some to restore.
            command = ["EXISTS", *lists, self.unacked_index_key, OLD_KEYS[1]]
        else:
            keys = [self.unacked_key, self.unacked_index_key, *lists]
            acks = [int(queue not in self._without_ack) for _, queue in kept]
            # The text and not its hash: a restarted server would not know it.
            command = ["EVAL", CLAIM, len(keys), *keys, *acks]
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command(*command)

    def tell(self) -> None:
        """Have the queues looked at now: a message is in one that is not waited for. For another thread.

        A wait that has not reached the server yet cannot be ended, so this is tried for a while. Without the
        right to, or without a connection, the message is found when the wait ends by itself.
        """
        self._told = True
        with contextlib.suppress(RedisError, OSError):
            for _ in range(TELL_TIMES):
                _, waiting = self._waits_on
                if not self._told or self._sent is not _Step.WAIT or waiting is None:
                    return
                with self.conn_or_acquire() as client:
                    if client.client_unblock(waiting):
                        return
                sleep(TELL_EVERY_S)

    def _note_client(self) -> None:
        """Learn by which number the server knows the connection that is about to wait."""
        connection = self.client.connection
        known, now = self._waits_on[0], connection._sock  # noqa: SLF001 - a new one has another number
        if now is None or now is not known:
            self._waits_on = (now, None)
        if now is not None and now is not known:
            connection.send_command("CLIENT", "ID")
            with contextlib.suppress(ResponseError):  # without the right to, it is not told
                self._waits_on = (now, int(connection.read_response()))

    def close(self) -> None:
        """Close it. A wait has taken nothing, so its end need not be awaited, as kombu does."""
        if self._in_poll and self._sent is _Step.WAIT:
            self._in_poll.disconnect()
            self._in_poll = None
        super().close()

    def _forget(self, item: bytes | str) -> None:
        """Remove a malformed item that was noted as unacknowledged: it would be delivered forever."""
        tag = None
        with contextlib.suppress(Exception):
            tag = loads(bytes_to_str(item))["properties"]["delivery_tag"]
        if isinstance(tag, str):
            with self.conn_or_acquire() as client, client.pipeline() as pipe:
                pipe.zrem(self.unacked_index_key, tag).hdel(self.unacked_key, tag).execute()

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous=True)
        if self._plain_client is None or self._plain_client.connection_pool is not self.pool:
            self._plain_client = super()._create_client()
        return self._plain_client

    def _get_client(self) -> type:
        client = super()._get_client()
        return type(f"Checked{client.__name__}", (ReadsForItsChannel, client), {"channel": self})


def _task_id_in(item: bytes | str) -> str | None:
    """Return the id of the task that the item was to be, if that can be read."""
    try:
        message = loads(bytes_to_str(item))
        return readable_task_id(message.get("headers"), message.get("properties"))
    except Exception:  # noqa: BLE001 - it is no message, and its decoders may raise anything
        return None


def _text(item: bytes | str) -> str:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else item


class Transport(kombu_redis.Transport):  # type: ignore[misc]  # kombu has no types
    """kombu's Redis transport with our channel."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._leave_event_loop: Callable[[], None] = lambda: None

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        before = set(loop.on_tick)
        super().register_with_event_loop(connection, loop)
        added = loop.on_tick - before
        self._leave_event_loop = lambda: loop.on_tick.difference_update(added)

    def close_connection(self, connection: Any) -> None:
        self._leave_event_loop()
        super().close_connection(connection)


class SentinelChannel(Channel, kombu_redis.SentinelChannel):  # type: ignore[misc]  # kombu has no types
    """Our channel to the server that the sentinels name as the master."""

    from_transport_options = (*kombu_redis.SentinelChannel.from_transport_options, "awaited_queue")


class SentinelTransport(Transport):
    """Our transport to the server that the sentinels name as the master."""

    default_port = kombu_redis.SentinelTransport.default_port
    Channel = SentinelChannel
