"""Compares what a command prints with `--json` with the shapes that the reference shows."""

import json
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from docs.json_output import ERROR, OUTPUT

GROUPS = ("policy", "schedules", "dead-letters", "gateway")


def command_of(arguments: Sequence[str]) -> str:
    """Return the command's name, such as `status` or `policy check`."""
    first, *rest = arguments
    if first not in GROUPS:
        return first
    return f"{first} {rest[0]}" if rest and not rest[0].startswith("-") else f"{first} list"


def check_shape(arguments: Sequence[str], out: str) -> None:
    """Raise AssertionError if `out` is none of the command's shapes."""
    command = command_of(arguments)
    problems = []
    for shape in (*OUTPUT[command], ERROR):
        try:
            # As JSON, so that lists are tuples' equals; strict, so that "3" is no number.
            TypeAdapter(shape).validate_json(out, strict=True)
        except ValidationError as error:
            problems.append(f"{shape}: {error}")
        else:
            return
    raise AssertionError(
        f"{command} --json has none of its shapes:\n{json.loads(out)}\n" + "\n".join(problems)
    )
