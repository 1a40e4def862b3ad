"""Check whether kombu can decode an item of a queue's list."""

import base64
import binascii
import json
from typing import Any

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads


class MalformedMessage(ValueError):  # noqa: N818 - named by what the item is
    """An item of a queue's list that is not a message of kombu's virtual transports."""


def check_message(item: bytes | str) -> None:
    """Raise MalformedMessage with the reason if kombu cannot decode `item`."""
    try:
        message = _json(bytes_to_str(item))
    except Exception as error:
        # kombu's JSON runs decoders of its own for tagged values, which may raise anything.
        raise MalformedMessage(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise MalformedMessage("not a JSON object")
    properties = message.get("properties")
    if not isinstance(properties, dict):
        raise MalformedMessage("no properties")
    if not isinstance(properties.get("delivery_tag"), str):
        raise MalformedMessage("no delivery_tag in its properties")
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, dict) or not all(
        isinstance(delivery.get(name), str) for name in ("exchange", "routing_key")
    ):
        raise MalformedMessage("no delivery_info in its properties")
    # Messages of Celery's first protocol, which other languages' clients send, may have none.
    if not isinstance(message.get("headers"), dict | None):
        raise MalformedMessage("headers that are no JSON object")
    _check_body(message.get("body"), properties.get("body_encoding"))


def is_task_message(message: Any) -> bool:
    """Return whether a message is a task of Celery's protocol, so that a failure is not its own fault."""
    headers = message.headers or {}
    try:
        body = message.decode()
    except Exception:  # noqa: BLE001 - decoders may raise anything
        return False
    if isinstance(headers.get("task"), str):
        args, kwargs = (
            (body[0], body[1]) if isinstance(body, list | tuple) and len(body) == 3 else (None, None)
        )
        identity = headers.get("id")
    else:
        fields = body if isinstance(body, dict) and isinstance(body.get("task"), str) else {}
        args, kwargs, identity = fields.get("args", []), fields.get("kwargs", {}), fields.get("id")
    return isinstance(identity, str) and isinstance(args, list | tuple) and isinstance(kwargs, dict)


def _json(text: str) -> Any:
    """Decode as kombu does; without tagged values JSON's own decoder does the same for less."""
    may_be_tagged = "__type__" in text or "\\u" in text
    return loads(text) if may_be_tagged else json.loads(text)


def _check_body(body: Any, encoding: Any) -> None:
    if not isinstance(body, str):
        raise MalformedMessage("no body")
    if encoding is None:
        return
    if encoding != "base64":
        raise MalformedMessage(f"body_encoding {encoding!r} is unknown")
    try:
        base64.b64decode(body)
    except (binascii.Error, ValueError) as error:
        raise MalformedMessage(f"the body is not base64: {error}") from error
