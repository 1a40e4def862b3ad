"""PURE: the lines of a ledger's copy, and how a whole one is told from another.

The first line says what it is, the last one how many keys there are, and the digest of all lines before it.
Each other line is one key: `{"key", "type", "value", "ttl_ms"}`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.ledger.record import SCHEMA

FORMAT = 2
MAX_PROBLEMS = 100
TYPES = ("string", "hash", "list", "set", "zset", "stream")


class NotImportable(ValueError):  # noqa: N818 - named by what it is
    """The lines are no copy for this server, or it has a ledger already; `problems` has all sentences."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class Head:
    """What the first line says.

    Fields:
        exported_at: the server's time at the beginning of the copy, in ms.
        keys: how many keys follow.
    """

    exported_at: int
    keys: int


class CopyLines:
    """Encodes a copy, line by line; `end` is the last one."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.keys = -1  # the first line says what it is

    def line(self, content: Mapping[str, Any]) -> str:
        text = json.dumps(content)
        self._digest.update(f"{text}\n".encode())
        self.keys += 1
        return text

    def end(self) -> str:
        return json.dumps({"end": True, "keys": self.keys, "sha256": self._digest.hexdigest()})


def checked(lines: Iterable[str], prefix: str) -> Head:
    """Read a copy to its end and return its head.

    Args:
        lines: without or with their line ends.
        prefix: of the ledger that the copy is for.

    Raises:
        NotImportable: the copy is cut off, changed, or of another ledger; with every problem.
    """
    rows = (line.rstrip("\n") for line in lines)
    first = next(rows, "")
    exported_at = _checked_head(_object(first), prefix)
    digest = hashlib.sha256(f"{first}\n".encode())
    problems: list[str] = []
    keys, end = 0, None
    for number, line in enumerate(rows, 2):
        if len(problems) >= MAX_PROBLEMS:
            break
        if end is not None:
            problems.append(f"line {number}: follows the last line of the copy")
            break
        row = _object(line)
        if row is not None and row.get("end") is True:
            end = row
            continue
        digest.update(f"{line}\n".encode())
        keys += 1
        if problem := _problem(row):
            problems.append(f"line {number}: {problem}")
    if end is None and len(problems) < MAX_PROBLEMS:
        problems.append("the last line is missing: the copy was cut off")
    elif end is not None and not problems:
        problems += _problems_of_end(end, keys, digest.hexdigest())
    if problems:
        raise NotImportable(problems)
    return Head(exported_at, keys)


def key_rows(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the keys of a copy that is checked."""
    rows = iter(lines)
    next(rows)
    for line in rows:
        row = json.loads(line)
        if "key" in row:
            yield row


def _checked_head(head: Mapping[str, Any] | None, prefix: str) -> int:
    if head is None or "format" not in head or not isinstance(head.get("exported_at"), int):
        raise NotImportable(["line 1: is not the beginning of a copy of a ledger"])
    if head["format"] != FORMAT:
        raise NotImportable(
            [f"line 1: has format {head['format']!r}, and this version reads format {FORMAT}"]
        )
    if head.get("prefix") != prefix:
        problem = (
            f"line 1: the copy is of SCALEOUT_KEY_PREFIX={head.get('prefix')}, and this is {prefix}: import "
            "it under its own prefix, because two ledgers of one account would buy twice"
        )
        raise NotImportable([problem])
    if not isinstance(head.get("schema"), int) or head["schema"] > SCHEMA:
        found = head.get("schema")
        raise NotImportable([f"line 1: has records of schema {found}, and this version reads up to {SCHEMA}"])
    return int(head["exported_at"])


def _problems_of_end(end: Mapping[str, Any], keys: int, digest: str) -> list[str]:
    if keys == 0:
        return ["line 2: is the last one, so there is nothing to import"]
    if end.get("keys") != keys:
        return [f"there are {keys} keys and not {end.get('keys')}: lines are missing or doubled"]
    if end.get("sha256") != digest:
        return ["the digest of the last line is another one: a line was changed"]
    return []


def _problem(row: Mapping[str, Any] | None) -> str:
    if row is None or row.get("type") not in TYPES or not isinstance(row.get("key"), str):
        return "cannot be read as a key of a ledger"
    if not _fits(row["type"], row.get("value")) or not isinstance(row.get("ttl_ms"), int):
        return f"key {row['key'][:100]!r} has no value of its type {row['type']}"
    schema = _schema(row)
    if schema is not None and schema > SCHEMA:
        return f"record {row['key'][:100]!r} has schema {schema}, and this version reads up to {SCHEMA}"
    return ""


def _schema(row: Mapping[str, Any]) -> int | None:
    """Return the schema of a record that says one."""
    if row["type"] != "hash" or "content" not in row["value"]:
        return None
    content = _object(row["value"]["content"])
    found = None if content is None else content.get("schema_version")
    return found if isinstance(found, int) else None


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _fits(kind: str, value: Any) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if kind == "hash":
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    if not isinstance(value, list) or not value:
        return False
    if kind in ("list", "set"):
        return all(isinstance(one, str) for one in value)
    shape = dict if kind == "stream" else (int | float)
    return all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], shape)
        for one in value
    )
