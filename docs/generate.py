"""Write the parts of the documentation that come from the code: `make reference`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

from config.secret_files import FILE_SUFFIX, PREFIX, secret_names
from config.settings import GatewaySettings, Settings
from docs.json_output import ERROR, OUTPUT
from tasks.contract.dry_run import DryRun
from tasks.contract.outcome import Outcome
from tasks.contract.request import ScaleOutRequest
from tasks.ledger.outcome_entries import MIN_RECORDS_TTL_S
from tasks.ledger.record_values import FINAL, State
from tasks.metrics.families import FAMILIES, Family
from tasks.quota.plan import Account, Load, plan
from tasks.runtime.process_metrics import DESCRIBED, Described
from tasks.state_machine.states import MEANING, TRANSITIONS
from workers.simulator import control_messages

DOCS = Path(__file__).resolve().parent
SIMULATOR_MESSAGES: Mapping[str, type[BaseModel]] = {
    "faults": control_messages.FaultMessage,
    "stock": control_messages.StockMessage,
    "foreign": control_messages.ForeignMessage,
    "end-jobs": control_messages.EndJobsMessage,
    "quota": control_messages.QuotaMessage,
    "options": control_messages.OptionsMessage,
}
METRICS = "reference/metrics.md"
# Clusters, zones, duration of a job (s), poll interval (s).
PLANS = (
    (40, 1, 120, 5),
    (40, 1, 600, 5),
    (1_000, 1, 600, 5),
    (12_000, 1, 600, 5),
    (12_000, 1, 3_600, 5),
    (1_000, 5, 600, 5),
    (1_000, 20, 600, 5),
    (1_000, 1, 600, 30),
)
RULE = """# Made by `make reference` from deploy/prometheus/alerts.yml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: scaleout}
spec:
"""
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def generated() -> dict[Path, str]:
    """Return the content of every file that has generated parts."""
    schemas = {"request": request_schema(), "outcome": outcome_schema(), "dry-run": dry_run_schema()}
    schemas["documents"] = documents_schema()
    files = {
        DOCS / f"{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }
    files[DOCS / "documents.schema.json"] = (
        json.dumps(documents_schema(), indent=2, ensure_ascii=False) + "\n"
    )
    parts = {"how-it-works.md": ("states", f"{states_table()}\n{states_diagram()}")}
    parts["reference/settings.md"] = ("settings", settings_table())
    parts["how-to/sizing.md"] = ("plans", plans_table())
    parts["reference/json.md"] = ("commands", json_table())
    parts["reference/simulator.md"] = ("messages", "\n".join(map(message_table, SIMULATOR_MESSAGES)))
    for name, (mark, content) in parts.items():
        files[DOCS / name] = with_part((DOCS / name).read_text(encoding="utf-8"), mark, content)
    page = (DOCS / METRICS).read_text(encoding="utf-8")
    for mark, described in (("ledger", FAMILIES), ("worker", DESCRIBED)):
        page = with_part(page, mark, metrics_table(described))
    files[DOCS / METRICS] = page
    return files | kubernetes()


def kubernetes() -> dict[Path, str]:
    """Return alerts and dashboard in the forms in which a cluster takes them."""
    deploy = DOCS.parent / "deploy"
    alerts = (deploy / "prometheus/alerts.yml").read_text(encoding="utf-8").split("\n", 1)[1]
    rule = f"{RULE}{''.join(f'  {line}' for line in alerts.splitlines(keepends=True))}"
    dashboard = (deploy / "grafana/scaleout.json").read_text(encoding="utf-8")
    folder = deploy / "kubernetes/monitoring"
    return {folder / "rule.yaml": rule, folder / "scaleout.json": dashboard}


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


def documents_schema() -> dict[str, Any]:
    """Return one JSON Schema with the shape of everything that `--json` prints, by name."""
    kinds = {shape_name(shape): shape for shapes in OUTPUT.values() for shape in (*shapes, ERROR)}
    plain = {name: kind for name, kind in kinds.items() if not name.startswith("array of ")}
    items = [get_args(kind)[0] for name, kind in kinds.items() if name.startswith("array of ")]
    models = sorted({*plain.values(), *items}, key=lambda kind: str(kind.__name__))
    _, schema = models_json_schema([(kind, "serialization") for kind in models])
    return {"$schema": DIALECT, "title": "What the commands print with --json", **schema}


def shape_name(shape: Any) -> str:
    """Return `StatusDocument`, or `array of StatusDocument`."""
    return f"array of {get_args(shape)[0].__name__}" if get_origin(shape) is list else str(shape.__name__)


def json_table() -> str:
    """Return what each command prints as a Markdown table."""
    rows = ["| command | prints |", "|---|---|"]
    for command, shapes in OUTPUT.items():
        names = ", or ".join(f"`{shape_name(shape)}`" for shape in shapes)
        rows.append(f"| `scaleout {command}` | {names} |")
    return "\n".join(rows) + "\n"


def plans_table() -> str:
    """Return what an account with 2,000 calls an hour serves at most, as a Markdown table."""
    columns = ["clusters", "zones", "a job lasts", "poll interval", "jobs an hour", "nodes an hour"]
    columns += ["running at once", "mean delay", "delay at most"]
    rows = [f"| {' | '.join(columns)} |", f"|{'---:|' * len(columns)}"]
    for clusters, zones, duration_s, poll_s in PLANS:
        account = Account(2_000, 3_600, poll_s, MIN_RECORDS_TTL_S)
        load = Load(jobs=1, clusters=clusters, zones=zones, nodes=99, job_duration=duration_s)
        most = load.model_copy(update={"jobs": plan(load, account).max_jobs})
        found = plan(most, account)
        rows.append(
            f"| {clusters:,} | {zones} | {duration_s / 60:g} min | {poll_s} s | {found.max_jobs:,} "
            f"| {found.max_nodes:,} | {found.running:,} | {found.mean_delay_s:.3g} s "
            f"| {found.worst_delay_s:.3g} s |"
        )
    return "\n".join(rows) + "\n"


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
    fields = {**Settings.model_fields, **GatewaySettings.model_fields}
    for name, field in sorted(fields.items(), key=lambda item: not item[1].is_required()):
        variable = f"`{PREFIX}{name.upper()}`"
        if name in secrets:
            variable += f", `…{FILE_SUFFIX}`"
        rows.append(f"| {variable} | {_default(name, field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def metrics_table(described: Iterable[Family | Described]) -> str:
    """Return metrics as a Markdown table."""
    rows = ["| metric | type | labels | |", "|---|---|---|---|"]
    for one in described:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append(f"| `{one.name}` | {one.kind} | {labels} | {one.about} |")
    return "\n".join(rows) + "\n"


def message_table(name: str) -> str:
    """Return the fields of a message of the simulator's control API as a Markdown table."""
    kind = SIMULATOR_MESSAGES[name]
    about = (kind.__doc__ or "").strip()
    rows = [f"**`POST /_sim/{name}`**: {about}", "", "| field | type | default | |", "|---|---|---|---|"]
    for field, schema in kind.model_json_schema()["properties"].items():
        default = (
            "required" if kind.model_fields[field].is_required() else f"`{json.dumps(schema['default'])}`"
        )
        rows.append(f"| `{field}` | {_type(schema)} | {default} | {schema.get('description', '')} |")
    return "\n".join(rows) + "\n"


def _type(schema: Mapping[str, Any]) -> str:
    """Return the type of a field in words."""
    if "enum" in schema:
        return (
            "one of those above"
            if len(schema["enum"]) > 6
            else ", ".join(f"`{one}`" for one in schema["enum"])
        )
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    bounds = (
        "" if low is None and high is None else f", {low} to {high}" if high is not None else f", from {low}"
    )
    return f"{schema['type']}{bounds}"


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
