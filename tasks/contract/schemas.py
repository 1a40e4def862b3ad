"""The public shapes as JSON Schema, for programs in other languages."""

import json
from typing import Any

from tasks.contract.dry_run import DryRun
from tasks.contract.outcome import Outcome
from tasks.contract.request import ScaleOutRequest

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def request_schema() -> dict[str, Any]:
    """JSON Schema of the keyword arguments of `scaleout.add_nodes`."""
    schema = ScaleOutRequest.model_json_schema(mode="validation")
    # The worker fills it in with the task's id, so a producer may leave it out.
    schema["required"].remove("request_id")
    return {"$schema": DIALECT, **schema}


def outcome_schema() -> dict[str, Any]:
    """JSON Schema of the value of `scaleout:outcome:{request_id}`."""
    return {"$schema": DIALECT, **Outcome.model_json_schema(mode="serialization")}


def dry_run_schema() -> dict[str, Any]:
    """JSON Schema of the answer to a request with `dry_run`."""
    return {"$schema": DIALECT, **DryRun.model_json_schema(mode="serialization")}


def as_text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
