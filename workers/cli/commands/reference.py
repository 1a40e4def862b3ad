"""The parts of the documentation that are made from the code: schemas, and the README's settings."""

from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from config.settings import FILE_SUFFIX, PREFIX, Settings, secret_names
from tasks.contract.schemas import as_text, dry_run_schema, outcome_schema, request_schema

BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->"


def write_reference(root: Path) -> None:
    """Write docs/*.schema.json and the settings table of README.md under `root`."""
    (root / "docs" / "request.schema.json").write_text(as_text(request_schema()), encoding="utf-8")
    (root / "docs" / "outcome.schema.json").write_text(as_text(outcome_schema()), encoding="utf-8")
    (root / "docs" / "dry-run.schema.json").write_text(as_text(dry_run_schema()), encoding="utf-8")
    readme = root / "README.md"
    readme.write_text(with_settings(readme.read_text(encoding="utf-8")), encoding="utf-8")


def with_settings(readme: str) -> str:
    """`readme` with the table between its two marks made anew. Raises ValueError if a mark is missing."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + settings_table() + END + after


def settings_table() -> str:
    secrets = secret_names(Settings)
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in sorted(Settings.model_fields.items(), key=_may_be_left_out):
        variable = f"`{PREFIX}{name.upper()}`"
        if name in secrets:
            variable += f", `…{FILE_SUFFIX}`"
        rows.append(f"| {variable} | {_default(name, field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _may_be_left_out(named: tuple[str, FieldInfo]) -> bool:
    return not named[1].is_required()


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "must be set"
    value: Any = field.default
    if value is None:
        return f"`{PREFIX}REDIS_URL`" if name in ("broker_url", "result_backend") else ""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
