"""Sentences from pydantic's errors: each names the field, the value and, where there is one, the remedy."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError

MAX_PROBLEMS = 50
MAX_NAME_CHARS = 64
MAX_VALUE_CHARS = 80

Location = tuple[Any, ...]


def messages(
    error: ValidationError,
    model: type[BaseModel],
    *,
    name: Callable[[Location], str],
    noun: str = "field",
    skip: Callable[[Location], bool] = lambda _: False,
    hide: Callable[[Location], bool] = lambda _: False,
) -> list[str]:
    """Return one sentence for each of the first problems, and one for how many more there are.

    Args:
        model: what was read; the known names come from it.
        name: how a field at a location is called.
        noun: what its fields are called when one is unknown.
        skip: locations that another check reports.
        hide: locations whose value is a secret.
    """
    found = [problem for problem in error.errors(include_url=False) if not skip(problem["loc"])]
    listed = []
    for problem in found[:MAX_PROBLEMS]:
        value = "" if hide(problem["loc"]) else shown(problem.get("input"))
        listed.append(_message(problem, model, name, noun, value))
    more = len(found) - len(listed)
    return [*listed, f"and {more} more"] if more else listed


def unknown(noun: str, name: str, key: str, known: Iterable[str]) -> str:
    """Return the sentence for a name that does not exist."""
    close = get_close_matches(key, list(known), 1)
    return f"unknown {noun} {name}" + (f" (did you mean {close[0]}?)" if close else "")


def field_path(location: Location, where: str = "") -> str:
    """Return a location as a path such as `limits.zones[1]`: printable, and each part of bounded length."""
    text = where
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        plain = part.replace("_", "").isalnum() and part.isascii()
        shown = part[:MAX_NAME_CHARS] if plain or not where else f'"{part[:MAX_NAME_CHARS]}"'
        text += f".{shown}" if text else shown
    return "".join(char if char.isprintable() else "?" for char in text)


def shown(value: Any, limit: int = MAX_VALUE_CHARS) -> str:
    """Return `=value`, cut where it is long; nothing for a secret, or a URL that may hold one."""
    if isinstance(value, SecretStr) or (isinstance(value, str) and _may_be_secret(value)):
        return ""
    text = text_of(value)
    return f"={text}" if len(text) <= limit else f"={text[: limit - 1]}…"


def _may_be_secret(text: str) -> bool:
    return (":" in text and "@" in text) or ("://" in text and "?" in text)


def text_of(value: Any) -> str:
    """Return `repr(value)`, or its type if it has none, for example because it is nested too deeply."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not hide the problem
        return f"<{type(value).__name__}>"


def _message(
    problem: Mapping[str, Any],
    model: type[BaseModel],
    name: Callable[[Location], str],
    noun: str,
    value: str,
) -> str:
    location = tuple(part for part in problem["loc"] if part not in ("datetime", "date"))
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    where, context = name(location), problem.get("ctx", {})
    if not where and problem["type"] != "extra_forbidden":
        return message
    match problem["type"]:
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return unknown(noun, where, str(location[-1]), _model_at(model, location[:-1]).model_fields)
        case "model_type" | "dict_type" if noun == "key":
            return f"{where}: must be a table, such as [{where}]"
        case "tuple_type":
            message = 'must be a list, such as ["a", "b"]'
        case "too_short":
            message = "must not be empty: leave it out instead"
        case "greater_than_equal":
            message = f"must be at least {context['ge']}"
        case "less_than_equal":
            message = f"must be at most {context['le']}"
        case "string_pattern_mismatch":
            message = f"must match {context['pattern']}"
    return f"{where}{value}: {message.replace('should', 'must', 1)}"


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    """Return the model of the table at `location`: an entry of a dict goes by the dict's name."""
    for part in location:
        if (field := model.model_fields.get(str(part))) is not None:
            inner = [arg for arg in get_args(field.annotation) if isinstance(arg, type)]
            model = next((arg for arg in inner if issubclass(arg, BaseModel)), model)
    return model
