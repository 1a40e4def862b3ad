"""kombu's Redis client: a server that refuses is an outage, and what is no message is not passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.client import Pipeline
from redis.exceptions import ResponseError

from tasks.runtime.redis_refusals import OTHER_SERVER, refusal_of

if TYPE_CHECKING:
    from workers.broker.transport import Channel


class _RefusablePipeline(Pipeline):
    """A transaction. A server that refuses it is an outage, after which Celery connects again."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        try:
            return super().execute(raise_on_error)
        except ResponseError as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            # Those in use, such as the one that waits for messages, are closed by who uses them.
            self.connection_pool.disconnect(inuse_connections=False)
            raise refusal from error


class ReadsForItsChannel:
    """Mixed into kombu's Redis client: it passes on no item that is not a message."""

    channel: Channel
    connection_pool: Any
    response_callbacks: Any

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _RefusablePipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        # kombu calls it BRPOP, whatever command its channel has sent.
        sent = "EVAL" if command_name == "BRPOP" else command_name
        try:
            reply = super().parse_response(connection, sent, **options)  # type: ignore[misc]
        except ResponseError as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            if command_name == "BRPOP" and refusal.code not in OTHER_SERVER:
                self.channel.refused(refusal)
                return None
            # A lost connection: Celery connects again, and may reach another server.
            connection.disconnect()
            raise refusal from error
        if command_name == "BRPOP":
            return self.channel.taken(reply)
        if command_name == "RPOP" and reply:
            return self.channel.popped(reply)
        return reply
