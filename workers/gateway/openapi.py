"""The OpenAPI document, made from the routes and the models that they read and answer with."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from openapi_pydantic import OpenAPI
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from tasks.contract.request import REQUEST_ID
from workers.gateway.clients import Role
from workers.gateway.hub import POSITION
from workers.gateway.problems import MEDIA_TYPE, ProblemDocument
from workers.gateway.routes import Route
from workers.gateway.sessions import COOKIE

REF = "#/components/schemas/{model}"
PARAMETER = re.compile(r"\{(\w+)\}")
OF_EVERY_CALL = (HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
OF_A_CLIENT = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
OF_A_BODY = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
SCHEMES = {
    "token": {"type": "http", "scheme": "bearer"},
    "browser": {"type": "apiKey", "in": "cookie", "name": COOKIE},
}
HEADERS = {
    "Idempotency-Key": {"type": "string", "pattern": REQUEST_ID.pattern},
    "Last-Event-ID": {"type": "string", "pattern": POSITION.pattern},
}
# One event; `data` of each but the first is JSON.
EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "event": {"enum": ["hello", "status", "outcome", "late_nodes"]},
        "id": {"type": "string"},
        "data": {"type": "string"},
        "retry": {"type": "integer"},
    },
}
OF_INPUT = (HTTPStatus.UNPROCESSABLE_ENTITY,)


def document(routes: Iterable[Route], *, with_tokens: bool) -> dict[str, Any]:
    """Return the document, checked against the specification's own model.

    `with_tokens`: whether this gateway has a tokens file.
    """
    routes = list(routes)
    models = _models(routes)
    names, schema = models_json_schema(
        [(model, mode) for model, mode in models], ref_template=REF, by_alias=True
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route, names, with_tokens=with_tokens
        )
    content = {
        "openapi": "3.1.0",
        "info": {
            "title": "ehpc-scaleout",
            "version": version("ehpc-scaleout"),
            "description": "Adds nodes to QingCloud EHPC clusters: at most once, never lost, within quota.",
        },
        "paths": paths,
        "components": {
            "schemas": schema.get("$defs", {}),
            "securitySchemes": SCHEMES if with_tokens else {},
        },
    }
    OpenAPI.model_validate(content)
    return content


def _models(routes: Iterable[Route]) -> list[tuple[type[BaseModel], Any]]:
    found: dict[tuple[type[BaseModel], str], None] = {(ProblemDocument, "serialization"): None}
    for route in routes:
        for shape in route.answers.values():
            for model in _models_of(shape):
                found[model, "serialization"] = None
        if route.body is not None:
            found[route.body, "validation"] = None
    return list(found)


def _models_of(shape: Any) -> list[type[BaseModel]]:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return [shape]
    return [model for part in getattr(shape, "__args__", ()) for model in _models_of(part)]


def _operation(route: Route, names: Any, *, with_tokens: bool) -> dict[str, Any]:
    statuses = {*route.problems, *OF_EVERY_CALL}
    if route.role is not Role.NONE:
        statuses |= set(OF_A_CLIENT)
    if route.body is not None:
        statuses |= {*OF_A_BODY, *OF_INPUT}
    if route.query is not None:
        statuses |= set(OF_INPUT)
    problem = {MEDIA_TYPE: {"schema": names[ProblemDocument, "serialization"]}}
    responses: dict[str, Any] = {
        str(status.value): {"description": status.phrase, "content": problem} for status in sorted(statuses)
    }
    for status, shape in route.answers.items():
        responses[str(status.value)] = {"description": status.phrase, **_content(shape, names)}
    found: dict[str, Any] = {
        "operationId": _name_of(route),
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": responses,
    }
    if route.role is not Role.NONE:
        found["description"] = f"Role: `{route.role.name.lower()}`."
        found["security"] = [{name: []} for name in SCHEMES] if with_tokens else []
    if route.body is not None:
        body = {"application/json": {"schema": names[route.body, "validation"]}}
        found["requestBody"] = {"required": route.body_needed, "content": body}
    return found


def _name_of(route: Route) -> str:
    words = re.sub(r"\W+", " ", route.path.removeprefix("/v1")).split()
    return "_".join([route.method.lower(), *words])


def _content(shape: Any, names: Any) -> dict[str, Any]:
    if shape is None:
        return {"content": {"text/event-stream": {"schema": EVENT}}}
    models = _models_of(shape)
    refs = [names[model, "serialization"] for model in models]
    if getattr(shape, "__origin__", None) is list:
        schema: dict[str, Any] = {"type": "array", "items": refs[0]}
    else:
        schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    return {"content": {"application/json": {"schema": schema}}}


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in PARAMETER.findall(route.path)
    ]
    if route.query is not None:
        properties = TypeAdapter(route.query).json_schema()["properties"]
        for name, schema in properties.items():
            plain = {key: value for key, value in schema.items() if key not in ("title", "default")}
            if "anyOf" in plain:
                # A query has no null: what may be left out may be left out.
                plain |= next(one for one in plain.pop("anyOf") if one.get("type") != "null")
            found.append({"name": name, "in": "query", "required": False, "schema": plain})
    found += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": HEADERS[name]}
        for name, text in route.headers.items()
    ]
    return found
