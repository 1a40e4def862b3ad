"""What is wrong with a table of a policy file, in sentences that name the key, the value and the remedy."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

MAX_VALUE_CHARS = 80


def sentences(
    where: str, error: ValidationError, kind: type[BaseModel], leave_out: Collection[str] = ()
) -> list[str]:
    """One for each problem of the table `where`, read as `kind`; keys in `leave_out` are not spoken of."""
    return [
        _sentence(where, dict(problem), kind)
        for problem in error.errors(include_url=False)
        if not problem["loc"] or problem["loc"][0] not in leave_out
    ]


def unknown_keys(where: str, table: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    names = list(known)
    return [_unknown(_path(where, (key,)), key, names) for key in table if key not in names]


def _sentence(where: str, problem: Mapping[str, Any], kind: type[BaseModel]) -> str:
    location = tuple(part for part in problem["loc"] if part not in ("datetime", "date"))
    path = _path(where, location)
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    match problem["type"]:
        case "missing":
            return f"{path} is missing"
        case "extra_forbidden":
            return _unknown(path, str(location[-1]), list(_model(kind, location[:-1]).model_fields))
        case "model_type" | "dict_type":
            return f"{path}: must be a table, such as [{path}]"
        case "tuple_type":
            message = 'must be a list, such as ["a", "b"]'
        case "too_short":
            message = "must not be empty: leave the key out to say nothing"
        case "greater_than_equal" | "less_than_equal" as bound:
            word = "at least" if bound == "greater_than_equal" else "at most"
            message = f"must be {word} {problem['ctx']['ge' if word == 'at least' else 'le']}"
        case "string_pattern_mismatch":
            message = f"must match {problem['ctx']['pattern']}"
        case _:
            message = message.replace("should", "must", 1)
    return f"{path}={_shown(problem.get('input'))}: {message}"


def _model(kind: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel]:
    """The model of the table at `location`: an entry of a dict goes by the dict's name."""
    for part in location:
        field = kind.model_fields.get(str(part))
        if field is not None:
            inner = [arg for arg in get_args(field.annotation) if isinstance(arg, type)]
            kind = next((arg for arg in inner if issubclass(arg, BaseModel)), kind)
    return kind


def _unknown(path: str, key: str, known: list[str]) -> str:
    meant = get_close_matches(key, known, 1)
    hint = f"did you mean {meant[0]}?" if meant else f"here are {', '.join(known)}"
    return f"{path} is no key of a policy: {hint}"


def _path(where: str, location: Iterable[Any]) -> str:
    path = where
    for part in location:
        if isinstance(part, int):
            path = f"{path}[{part}]"
        else:
            name = part if part.replace("_", "").isalnum() and part.isascii() else f'"{part}"'
            path = f"{path}.{name}" if path else name
    return "".join(char if char.isprintable() else "?" for char in path)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"
