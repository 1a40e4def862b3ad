"""What is wrong with a request, told to whoever sent it: printable and bounded, whatever was sent."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

MAX_PROBLEMS = 50
MAX_NAME_CHARS = 64
MAX_VALUE_CHARS = 80


def sentences(error: ValidationError) -> list[str]:
    """One for each of the first problems, and one for how many more there are."""
    problems = error.errors(include_url=False)
    told = [_sentence(dict(problem)) for problem in problems[:MAX_PROBLEMS]]
    more = len(problems) - len(told)
    return [*told, f"and {more} more"] if more else told


def text_of(value: Any) -> str:
    """`value` as Python writes it, or its type if it cannot be written, e.g. for being nested too deeply."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not hide what is wrong with it
        return f"<{type(value).__name__}>"


def _sentence(problem: Mapping[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    where = ".".join(_printable(str(part)[:MAX_NAME_CHARS]) for part in problem["loc"])
    if not where:
        return message
    match problem["type"]:
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return f"{where} is not a field of a request"
        case _:
            return f"{where}={_short(problem.get('input'))}: {message}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _short(value: Any) -> str:
    text = text_of(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 3]}…"
