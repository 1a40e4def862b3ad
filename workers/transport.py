"""Celery's broker on Redis, made to live through whatever others put into its lists.

kombu's own channel raises on an item that is not a message, and the worker exits. Ours looks at each item
as it comes from the server, sets aside what cannot be understood, and goes on.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

TRANSPORT = f"{__name__}:Transport"

SetAside = Callable[[str, str, str], None]

_listeners: list[SetAside] = []


def set_aside_with(keep: SetAside) -> None:
    """Have `keep(reason, queue, item)` called for each item that is no message."""
    _listeners[:] = [keep]


class NotAMessage(ValueError):  # noqa: N818 - named by what the item is
    """An item of a queue's list that is no message of kombu's virtual transports."""


def check_item(item: bytes | str) -> None:
    """Raises NotAMessage with the reason why kombu could not make a message of `item`."""
    try:
        message = loads(bytes_to_str(item))
    except Exception as error:
        # kombu's JSON runs decoders of its own for tagged values, which may raise anything.
        raise NotAMessage(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise NotAMessage("JSON, but no object")
    properties = message.get("properties")
    if not isinstance(properties, dict):
        raise NotAMessage("no properties")
    if not isinstance(properties.get("delivery_tag"), str):
        raise NotAMessage("no delivery_tag in its properties")
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, dict) or not {"exchange", "routing_key"} <= delivery.keys():
        raise NotAMessage("no delivery_info in its properties")
    if not isinstance(message.get("headers"), dict):
        raise NotAMessage("no headers")
    _check_body(message.get("body"), properties.get("body_encoding"))


def _check_body(body: Any, encoding: Any) -> None:
    if not isinstance(body, str):
        raise NotAMessage("no body")
    if encoding is None:
        return
    if encoding != "base64":
        raise NotAMessage(f"body_encoding {encoding!r} is unknown")
    try:
        base64.b64decode(body)
    except (binascii.Error, ValueError) as error:
        raise NotAMessage(f"the body is not base64: {error}") from error


def _readable(item: bytes | str) -> str:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else item


class _ReadsOnlyMessages:
    """Mixed into kombu's Redis client: an item that is no message is never handed on."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[misc]
        if reply and command_name in ("BRPOP", "RPOP"):
            queue, item = reply if command_name == "BRPOP" else ("", reply)
            try:
                check_item(item)
            except NotAMessage as error:
                for keep in _listeners:
                    keep(str(error), bytes_to_str(queue), _readable(item))
                return None
        return reply


class Channel(kombu_redis.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel that outlives what it cannot read."""

    def _get_client(self) -> type:
        client = super()._get_client()
        return type(f"Checked{client.__name__}", (_ReadsOnlyMessages, client), {})


class Transport(kombu_redis.Transport):  # type: ignore[misc]  # kombu has no types
    """kombu's Redis transport with our channel."""

    Channel = Channel
