"""PURE: read the values of a listing's row for what they are; an optional one that is unreadable is empty."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidatorFunctionWrapHandler
from pydantic import WrapValidator as Wrap

from tasks.ehpc.errors import printable

SEPARATORS = re.compile(r"[\s,;]+")
ID = r"^[!-~]{1,128}$"


def as_text(value: Any) -> str:
    """Return a text or a number as text, several of them joined by spaces, and nothing for all else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return " ".join(as_text(part) for part in value if not isinstance(part, list))
    return ""


def as_count(value: Any) -> int | None:
    """Return a number of rows, which may come as text; None if it is not one."""
    text = as_text(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _ids(value: Any) -> tuple[str, ...]:
    words: Iterable[str] = SEPARATORS.split(as_text(value))
    return tuple(word for word in words if re.match(ID, word))


def _time(value: Any, read: ValidatorFunctionWrapHandler) -> datetime | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        found: datetime = read(value)
        aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        aware.timestamp()
    except (ValidationError, ValueError, OverflowError):
        return None
    return aware


# A text that is only shown: short, and without control characters.
Text = Annotated[str, BeforeValidator(as_text), AfterValidator(printable)]
# What decides is compared by this: words come in any case.
Word = Annotated[Text, AfterValidator(str.strip), AfterValidator(str.casefold)]
Time = Annotated[datetime | None, Wrap(_time)]
Id = Annotated[str, BeforeValidator(as_text), Field(pattern=ID)]
Ids = Annotated[tuple[str, ...], BeforeValidator(_ids)]
