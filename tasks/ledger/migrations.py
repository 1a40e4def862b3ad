"""Records that an earlier version wrote, in the shape of this one. See docs/how-to/upgrade.md."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from tasks.ledger.record import CURRENT, SCHEMA, Record

R = TypeVar("R", bound=Record)

# Schema 1 had no number. Names of fields that schema 2 has under other ones, wherever in a record they are.
NAMES_OF_SCHEMA_1 = {
    "asked": "spec",
    "wanted": "unassigned_nodes",
    "shares": "assignments",
    "streak": "consecutive_failures",
    "most_at_once": "max_nodes_per_call",
    "alone": "exclusive",
    "last_refusal": "last_reason",
    "meter": "counter",
    "meters": "counters",
    "tries": "attempts",
    "verdict": "job_result",
    "held_because": "held_reason",
    "refusal": "reason",
    "gate": "locked_by",
    "waits_for": "wait_reason",
    "said": "last_error",
    "refused_since": "blocked_since",
    "broken_off_at": "resume_offset",
    "why": "reason",
    "untold": "unlogged",
    "through": "last_handled",
}
VALUES_OF_SCHEMA_1 = {
    ("state", "absent"): "not_executed",
    ("kind", "guardrail"): "limit",
    ("kind", "absent"): "not_executed",
    ("kind", "account_refused"): "account_blocked",
    ("lead_time", "learnt"): "adaptive",
}
# The result of a schedule's last occurrence is only shown, and the next one replaces it.
DROPPED_OF_SCHEMA_1 = frozenset({"last"})
# What producers and the provider have named stays as it is.
OPAQUE = frozenset({"resource_conf", "missing", "body"})


class UnreadableRecord(ValueError):  # noqa: N818 - named by what the record is
    """A record that this version cannot read; the text names it and the remedy. `key`: where it is."""

    def __init__(self, key: str, why: str) -> None:
        self.key = key
        super().__init__(f"{key} cannot be read by this version: {why}")


def load(kind: type[R], key: str, version: str | int, content: str) -> R:
    """Read the record under `key`.

    Raises:
        UnreadableRecord: a later version wrote it in a shape that this one does not know, or it is damaged.
    """
    try:
        record = (
            kind.model_validate_json(content)
            if content.startswith(f"{CURRENT},") or content == f"{CURRENT}}}"
            else kind.model_validate_json(json.dumps(migrated(json.loads(content))))
        )
    except (TypeError, ValueError) as error:
        raise UnreadableRecord(key, _summary(error)) from None
    return record.model_copy(update={"version": int(version)})


def migrated(fields: Any) -> dict[str, Any]:
    """Return the fields of a record in the current shape. Raises ValueError for a later schema."""
    if not isinstance(fields, Mapping):
        raise TypeError("it is not an object")
    found = fields.get("schema_version", 1)
    if not isinstance(found, int) or found > SCHEMA:
        raise ValueError(f"its schema is {found!r}, and the highest known is {SCHEMA}: upgrade this process")
    current: dict[str, Any] = dict(fields) if found == SCHEMA else _walk(fields, _from_schema_1)
    return {**current, "schema_version": SCHEMA}


def _walk(value: Any, convert: Callable[[str, Any], tuple[str, Any]]) -> Any:
    if isinstance(value, Mapping):
        pairs = (convert(name, part) for name, part in value.items() if name not in DROPPED_OF_SCHEMA_1)
        return {name: part if name in OPAQUE else _walk(part, convert) for name, part in pairs}
    return [_walk(part, convert) for part in value] if isinstance(value, list) else value


def _from_schema_1(name: str, value: Any) -> tuple[str, Any]:
    name = NAMES_OF_SCHEMA_1.get(name, name)
    return name, VALUES_OF_SCHEMA_1.get((name, value), value) if isinstance(value, str) else value


def _summary(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
