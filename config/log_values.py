"""Turning whatever is logged into plain JSON values, without ever failing and without running away."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from pathlib import PurePath
from typing import Any
from uuid import UUID

from config.secret_patterns import MASK, is_secret_name

MAX_DEPTH = 12
MAX_PARTS = 20_000

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_OPTION = re.compile(r"-{0,2}[\w.-]{1,100}\Z")
_AS_TEXT = (UUID, PurePath, date, datetime, time, timedelta)


def plain_text(text: str) -> str:
    """The text as an exact str that any encoding of Unicode can carry."""
    text = str.__str__(text)
    return text if text.isascii() else _LONE_SURROGATE.sub(_surrogate_escape, text)


def text_of(value: object) -> str:
    """`str(value)`, or a description of the value if that fails."""
    try:
        return plain_text(str(value))
    except Exception as error:  # noqa: BLE001 - any object may be logged, also one that cannot be shown
        return _unshowable(value, error)


def repr_of(value: object) -> str:
    """`repr(value)`, or a description of the value if that fails."""
    try:
        return plain_text(repr(value))
    except Exception as error:  # noqa: BLE001 - as above
        return _unshowable(value, error)


def plain(value: object) -> Any:
    """The value made of None, bool, int, float, str, list and dict only.

    What stands under the name of a secret is masked: as a mapping's value, a dataclass' field, the second of
    a pair, or behind an option or AUTH in a list of arguments.
    """
    if value is None or type(value) in (str, bool):
        return plain_text(value) if isinstance(value, str) else value
    try:
        return _Plain().convert(value, 0)
    except Exception as error:  # noqa: BLE001 - a hostile mapping or sequence must not break logging
        return _unshowable(value, error)


def _surrogate_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _unshowable(value: object, error: Exception) -> str:
    return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


class _Plain:
    """One conversion: how much it may still write, and which containers it is inside of."""

    def __init__(self) -> None:
        self._left = MAX_PARTS
        self._inside: set[int] = set()

    def convert(self, value: object, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return self.convert(value.value, depth + 1) if depth < MAX_DEPTH else repr_of(value)
        if isinstance(value, str):
            return plain_text(value)
        if isinstance(value, int):
            return _number(int(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(float(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value).decode("utf-8", "backslashreplace")
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, _AS_TEXT):
            return str(value)
        if hasattr(type(value), "get_secret_value"):
            return MASK
        return self._container(value, depth)

    def _container(self, value: object, depth: int) -> Any:
        pairs: Iterable[tuple[object, object]] | None = None
        if isinstance(value, Mapping):
            pairs = value.items()
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            pairs = [(f.name, getattr(value, f.name, None)) for f in dataclasses.fields(value) if f.repr]
        elif not isinstance(value, list | tuple | set | frozenset | deque):
            return repr_of(value)
        if id(value) in self._inside:
            return "<contains itself>"
        if depth >= MAX_DEPTH:
            return f"<{type(value).__name__}, too deep to be shown>"
        self._inside.add(id(value))
        try:
            if pairs is not None:
                return self._mapping(pairs, depth)
            if isinstance(value, set | frozenset):
                return sorted(self._items(value, depth), key=repr)
            return self._items(value, depth) if isinstance(value, list | tuple | deque) else repr_of(value)
        finally:
            self._inside.discard(id(value))

    def _mapping(self, pairs: Iterable[tuple[object, object]], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, item in pairs:
            if not self._may_go_on():
                shown["…"] = "and more"
                break
            name = self._name(key)
            shown[name] = masked(item) if is_secret_name(name) else self.convert(item, depth + 1)
        return shown

    def _items(self, items: Iterable[object], depth: int) -> list[Any]:
        shown: list[Any] = []
        hide_next = hide_rest = False
        ordered = not isinstance(items, set | frozenset)
        for item in items:
            if not self._may_go_on():
                shown.append("… and more")
                break
            shown.append(masked(item) if hide_next or hide_rest else self.convert(item, depth + 1))
            word = shown[-1] if ordered and isinstance(shown[-1], str) else ""
            hide_rest = hide_rest or word.upper() in ("AUTH", "AUTH2")
            hide_next = bool(_OPTION.match(word)) and is_secret_name(word)
        return shown

    def _name(self, key: object) -> str:
        if isinstance(key, str) and not isinstance(key, enum.Enum):
            return plain_text(key)
        name = self.convert(key, MAX_DEPTH)
        return name if isinstance(name, str) else text_of(key)

    def _may_go_on(self) -> bool:
        self._left -= 1
        return self._left >= 0


def masked(value: object) -> Any:
    """What is shown under the name of a secret: that there is one, or that there is none."""
    nothing = value is None or isinstance(value, bool) or (isinstance(value, str) and not value)
    return value if nothing else MASK


def _number(value: int) -> int | str:
    # Python refuses to write numbers of thousands of digits, and few readers of JSON take so many.
    return value if value.bit_length() <= 1024 else f"<int of {value.bit_length()} bits>"
