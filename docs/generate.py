"""Write the parts of the documentation that come from the code: `make reference`."""

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from config.secret_files import FILE_SUFFIX, PREFIX, secret_names
from config.settings import Settings
from tasks.contract.dry_run import DryRun
from tasks.contract.outcome import Outcome
from tasks.contract.request import ScaleOutRequest
from tasks.ledger.record_values import FINAL, State
from tasks.state_machine.states import MEANING, TRANSITIONS

DOCS = Path(__file__).resolve().parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def generated() -> dict[Path, str]:
    """Return the content of every file that has generated parts."""
    schemas = {"request": request_schema(), "outcome": outcome_schema(), "dry-run": dry_run_schema()}
    files = {
        DOCS / f"{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }
    parts = {"how-it-works.md": ("states", f"{states_table()}\n{states_diagram()}")}
    parts["reference/settings.md"] = ("settings", settings_table())
    for name, (mark, content) in parts.items():
        files[DOCS / name] = with_part((DOCS / name).read_text(encoding="utf-8"), mark, content)
    return files


def with_part(page: str, mark: str, content: str) -> str:
    """Return the page with the text between its two marks replaced. Raises ValueError without the marks."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}{content}{end}{after}"


def request_schema() -> dict[str, Any]:
    """Return the JSON Schema of the keyword arguments of `scaleout.add_nodes`."""
    schema = ScaleOutRequest.model_json_schema(mode="validation")
    # The worker fills it in with the task's id, so a producer may leave it out.
    schema["required"].remove("request_id")
    return {"$schema": DIALECT, **schema}


def outcome_schema() -> dict[str, Any]:
    """Return the JSON Schema of the value of `scaleout:outcome:{request_id}`."""
    return {"$schema": DIALECT, **Outcome.model_json_schema(mode="serialization")}


def dry_run_schema() -> dict[str, Any]:
    """Return the JSON Schema of the answer to a request with `dry_run`."""
    return {"$schema": DIALECT, **DryRun.model_json_schema(mode="serialization")}


def states_table() -> str:
    """Return the states and their transitions as a Markdown table."""
    rows = ["| state | meaning | next |", "|---|---|---|"]
    for state in State:
        following = [f"`{one.target}`: {one.cause}" for one in TRANSITIONS if one.source is state]
        rows.append(f"| `{state}` | {MEANING[state]} | {'<br>'.join(following) or 'final'} |")
    return "\n".join(rows) + "\n"


def states_diagram() -> str:
    """Return the transitions as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.PLANNED}"]
    lines += [f"    {one.source} --> {one.target}" for one in TRANSITIONS]
    lines += [f"    {state} --> [*]" for state in State if state in FINAL]
    return "\n".join([*lines, "```"]) + "\n"


def settings_table() -> str:
    """Return every setting as a Markdown table, the required ones first."""
    secrets = secret_names(Settings)
    rows = ["| variable | default | description |", "|---|---|---|"]
    for name, field in sorted(Settings.model_fields.items(), key=lambda item: not item[1].is_required()):
        variable = f"`{PREFIX}{name.upper()}`"
        if name in secrets:
            variable += f", `…{FILE_SUFFIX}`"
        rows.append(f"| {variable} | {_default(name, field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.default
    if value is None:
        return f"`{PREFIX}REDIS_URL`" if name in ("broker_url", "result_backend") else ""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
