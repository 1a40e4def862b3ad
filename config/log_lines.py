"""One event as one line: JSON for machines, or text for people; redacted last of all, and bounded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from config.log_values import masked, plain, repr_of
from config.redaction import MASK, may_hold_secret, redact, stands_in
from config.secret_patterns import is_secret_name

MAX_LINE = 64 * 1024
"""A line is never longer, its end included: collectors cut or drop longer ones, and a cut line is no JSON."""

# Written by us alone, so there is nothing to redact, and readers rely on them.
FIXED = ("timestamp", "level", "logger", "event", "trace_id", "error.type", "error.message", "exception")
_OURS = ("timestamp", "level")

_encode: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode
_encode_readable: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode

_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_RED, _DIM, _BOLD, _RESET = "\x1b[1;31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


def json_line(fields: Mapping[str, Any]) -> str:
    """The fields as one JSON object in ASCII, so that no sign in a value can start another line."""
    shown = _shown(fields)
    line = _encode(shown)
    if may_hold_secret(line):
        shown = {
            name if name in FIXED else _safe(name): _redacted(name, item) for name, item in shown.items()
        }
        line = _encode(shown)
    if len(line) >= MAX_LINE:
        line = _shortened(shown)
    return line.replace("\x7f", "\\u007f")


def console_line(fields: Mapping[str, Any], *, colours: bool = False) -> str:
    """The fields as text. Only a traceback has more lines, and each of those is indented."""
    shown = _shown(fields)
    timestamp, level = str(shown.pop("timestamp", "")), str(shown.pop("level", ""))
    event, logger = (
        one_line(redact(str(shown.pop("event", "")))),
        one_line(redact(str(shown.pop("logger", "")))),
    )
    blocks = [redact(str(shown.pop(name))) for name in ("stack", "exception") if name in shown]
    words = " ".join(f"{_word(name)}={_word(item)}" for name, item in shown.items())
    rest = "".join((f" {words}" if words else "", f" [{logger}]", *(_indented(block) for block in blocks)))
    rest, event = cut(redact(rest), MAX_LINE - 9000), cut(redact(event), 8000)
    if colours:
        level_colour = _COLOURS.get(level, _RED)
        return f"{_DIM}{timestamp}{_RESET} {level_colour}{level:8}{_RESET} {_BOLD}{event:28}{_RESET}{rest}"
    return f"{timestamp} {level:8} {event:28}{rest}"


def one_line(text: str) -> str:
    """The text with line ends, escape sequences and whatever else is not printed written as escapes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def cut(text: str, length: int) -> str:
    """At most so many characters: the start and the end, and between them how much is missing."""
    if len(text) <= length:
        return text
    note = f"…[{len(text) - length} more]…"
    half = max(0, length - len(note)) // 2
    return f"{text[:half]}{note}{text[len(text) - half :]}" if half else text[:length]


def _shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, item in fields.items():
        value = plain(item)
        shown[name] = masked(value) if name not in FIXED and is_secret_name(name) else value
    return shown


def _redacted(name: str, item: Any) -> Any:
    return item if name in _OURS else _redacted_value(item)


def _redacted_value(item: Any) -> Any:
    if isinstance(item, str):
        return _safe(item)
    if isinstance(item, dict):
        return {_safe(name): _redacted_value(value) for name, value in item.items()}
    if isinstance(item, list):
        return [_redacted_value(value) for value in item]
    if isinstance(item, int | float) and not isinstance(item, bool):
        written = repr_of(item)
        return MASK if redact(written) != written else item
    return item


def _safe(text: str) -> str:
    text = redact(text)
    # A registered value may itself look like JSON's way to write this text.
    return MASK if stands_in(_encode(text)[1:-1]) else text


def _shortened(shown: dict[str, Any]) -> str:
    """A line within bounds: long texts lose their middle, then large values go, then all but ours."""
    shown = {**shown, "truncated": True}
    for length in (16_384, 4096, 1024, 256):
        shown = {name: _cut_texts(item, length) for name, item in shown.items()}
        line = _encode({cut(name, 256): item for name, item in shown.items()})
        if len(line) < MAX_LINE:
            return line
    small = {
        cut(name, 256): item if len(_encode(item)) <= 512 else "[too large]" for name, item in shown.items()
    }
    line = _encode(small)
    if len(line) < MAX_LINE:
        return line
    fixed = {name: cut(str(shown[name]), 256) for name in FIXED if name in shown}
    return _encode({**fixed, "truncated": True})


def _cut_texts(item: Any, length: int) -> Any:
    if isinstance(item, str):
        return cut(item, length)
    if isinstance(item, dict):
        return {cut(name, 256): _cut_texts(value, length) for name, value in item.items()}
    if isinstance(item, list):
        return [_cut_texts(value, length) for value in item]
    return item


def _word(item: Any) -> str:
    """A name or value that shows where it ends: quoted if it is empty or holds blanks, quotes or =."""
    if not isinstance(item, str):
        return one_line(redact(_encode_readable(item)))
    text = redact(item)
    if text and text.isprintable() and not any(sign in text for sign in " =\"'"):
        return text
    return one_line(_encode_readable(text))


def _indented(block: str) -> str:
    lines = block.replace("\r\n", "\n").rstrip("\n").split("\n")
    return "".join(f"\n    {one_line(line)}" for line in lines)
