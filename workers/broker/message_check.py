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
    if not isinstance(message.get("headers"), dict):
        raise MalformedMessage("no headers")
    _check_body(message.get("body"), properties.get("body_encoding"))


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
