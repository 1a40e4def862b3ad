"""Renders templates. Everything that is put into one is escaped."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from config.timestamps import milliseconds
from workers.cli.commands.status import ENDS_AT
from workers.cli.durations import age_text

FOLDER = Path(__file__).parent
STATIC = {"page.css": "text/css", "page.js": "text/javascript"}


@lru_cache(maxsize=1)
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"duration": _duration, "short": _short, "with_code": _with_code, "waits": _waits}
    made.globals |= {"asset": asset}
    return made


def render(template: str, **content: Any) -> str:
    return environment().get_template(template).render(**content)


@lru_cache(maxsize=len(STATIC))
def static(name: str) -> bytes:
    return (FOLDER / "static" / name).read_bytes()


def asset(name: str) -> str:
    """Return the address of a file, which differs when the file does: browsers may keep it for good."""
    return f"/static/{name}?{hashlib.sha256(static(name)).hexdigest()[:12]}"


def _with_code(text: str) -> Markup:
    """Return a text with what is between backticks as code; all of it escaped."""
    parts = str(text).split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 and number < len(parts) - 1 else escape(part)
        for number, part in enumerate(parts)
    )


def _waits(reason: Mapping[str, Any] | None) -> Markup:
    """Return what a request waits for, until when, and the command that helps."""
    if reason is None:
        return escape("–")
    word = "until" if reason["kind"] in ENDS_AT else "next try"
    said = reason["until"] is None or reason["until"] in reason["message"]
    until = "" if said else f", {word} {_short(reason['until'])}"
    remedy = Markup(" <code>{}</code>").format(reason["remedy"]) if reason["remedy"] else ""
    return Markup("{}{}{}").format(reason["message"], until, remedy)


def _duration(seconds: float | None) -> str:
    return "–" if seconds is None else age_text(seconds)


def _short(text: str | None) -> str:
    """Return a time for people, in UTC."""
    if not text:
        return "–"
    try:
        at = datetime.fromtimestamp(milliseconds(text) / 1000, UTC)
    except ValueError:
        return str(text)
    return f"{at:%d %b %H:%M:%S}"
