"""Turn whatever is logged into plain JSON values, within bounds."""

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

from config.logs.redaction import MASK, is_secret_name, redact

MAX_DEPTH = 8
MAX_ITEMS = 1_000
MAX_TEXT = 256 * 1024
MIN_TEXT = 40


def plain(value: object, depth: int = 0) -> Any:
    """Return the value made of None, bool, int, float, str, list and dict only."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if type(value) is str and value.isascii() and len(value) < 1_000 else _text(value)
    if isinstance(value, int):
        return int(value) if abs(value) < 2**64 else text_of(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, bytes | bytearray):
        return bytes(value[:MAX_TEXT]).decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth >= MAX_DEPTH:
            return f"<{type(value).__name__}, too deep to be shown>"
        if isinstance(value, Mapping):
            named = ((text_of(key)[:256], item) for key, item in islice(value.items(), MAX_ITEMS))
            return {name: field(name, item, depth + 1) for name, item in named}
        return [plain(item, depth + 1) for item in islice(value, MAX_ITEMS)]
    return text_of(value)


def field(name: str, value: object, depth: int = 0) -> Any:
    """Return `value` as plain, or the mask if its name says that it is a secret."""
    return MASK if value is not None and is_secret_name(name) else plain(value, depth)


def text_of(value: object) -> str:
    """Return `str(value)`; or its type, for an object that cannot be shown."""
    try:
        return _text(str(value))
    except Exception as error:  # noqa: BLE001 - any object may be logged
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def redacted(value: Any) -> Any:
    """Return a plain value with the secrets in its texts and names hidden."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [redacted(item) for item in value]
    if isinstance(value, dict):
        return {redact(key): redacted(item) for key, item in value.items()}
    return value


def shortened(value: Any, limit: int) -> Any:
    """Return a plain value with texts of at most `limit` characters; at MIN_TEXT without its items."""
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[:limit]}…[{len(value) - limit} more]"
    if isinstance(value, list | dict) and limit == MIN_TEXT:
        return f"[{len(value)} items]"
    if isinstance(value, list):
        return [shortened(item, limit) for item in value]
    if isinstance(value, dict):
        return {key: shortened(item, limit) for key, item in value.items()}
    return value


def _text(text: str) -> str:
    # A lone surrogate has no encoding.
    text = str.__str__(text)[:MAX_TEXT]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
