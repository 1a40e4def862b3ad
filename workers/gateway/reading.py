"""Reads bodies and queries. Every mistake is a problem document, and nothing was done."""

import json
from http import HTTPStatus
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from config.validation_messages import field_path, messages
from workers.gateway.problems import Problem, invalid

M = TypeVar("M", bound=BaseModel)
JSON = "application/json"


class Given(BaseModel):
    """A body or a query. Query values are texts, and read as what the field is."""

    model_config = ConfigDict(extra="forbid", frozen=True)


async def json_object(request: web.Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the body's JSON object."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        detail = "the body must not be compressed"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
    raw = await request.read()
    if not raw and may_be_empty:
        return {}
    if request.content_type != JSON:
        detail = f"the body has to be {JSON}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
    try:
        content = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "not-json", f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise invalid(["the body is not a JSON object"])
    return content


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that comes twice: readers differ in which one they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)[:64]!r} comes twice")
    return found


def as_model(kind: type[M], content: dict[str, Any], *, strict: bool = True) -> M:
    """Return the content as a model. Raises Problem (422) with every mistake."""
    try:
        return kind.model_validate(content, strict=strict)
    except ValidationError as error:
        raise invalid(messages(error, kind, name=field_path)) from None


def query(request: web.Request, kind: type[M]) -> M:
    """Return the query as a model. A parameter that comes twice is a mistake."""
    twice = sorted({name for name in request.query if len(request.query.getall(name)) > 1})
    if twice:
        raise invalid([f"{name[:64]}: comes twice" for name in twice])
    return as_model(kind, dict(request.query), strict=False)
