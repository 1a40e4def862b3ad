"""What went wrong, as problem documents (RFC 9457)."""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from redis.exceptions import RedisError

from config.logs.redaction import redact
from config.settings import SettingsError
from tasks.ledger.identity import OtherAccount
from tasks.ledger.ledger import WriteConflict

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
_encode = json.JSONEncoder(ensure_ascii=False).encode
FIELD = re.compile(r"^(?:unknown field )?([A-Za-z_][\w.\[\]]*?)(?:=|:| |$)")


class FieldError(BaseModel):
    """One of several problems. `field` is empty for what concerns the whole."""

    model_config = ConfigDict(extra="forbid")

    field: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457, Problem Details for HTTP APIs."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="`urn:scaleout:problem:` and a word for programs")
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field(default_factory=list)


class Problem(Exception):  # noqa: N818 - named by what it is
    """An answer that is no success.

    Args:
        word: names the kind of problem, for programs.
        detail: a sentence with the remedy.
        errors: each problem, if there are several.
    """

    def __init__(
        self,
        status: HTTPStatus,
        word: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.document = ProblemDocument(
            type=f"urn:scaleout:problem:{word}",
            title=status.phrase,
            status=status,
            detail=detail,
            errors=list(errors),
        )

    def response(self) -> web.Response:
        text = self.document.model_dump_json()
        return web.Response(text=text, status=self.status, content_type=MEDIA_TYPE, headers=self.headers)


def field_errors(problems: Sequence[str]) -> list[FieldError]:
    """Return sentences that begin with their field as errors."""
    found = []
    for text in problems:
        match = FIELD.match(text)
        found.append(FieldError(field=match.group(1) if match else "", message=text))
    return found


def invalid(problems: Sequence[str]) -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "; ".join(problems), errors=field_errors(problems)
    )


def not_found(what: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"no {what} is known here")


def unavailable(detail: str) -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "unavailable",
        detail,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


@web.middleware
async def as_problems(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer every failure with a problem document: nothing of the input is reflected but as JSON."""
    try:
        response: web.StreamResponse = await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _of_http(error).response()
    except (RedisError, OSError, WriteConflict) as error:
        detail = redact(f"the ledger cannot be reached now: {type(error).__name__}; send it again")
        return unavailable(detail).response()
    except SettingsError as error:
        return unavailable(f"the gateway lacks a worker's settings for this: {error}").response()
    except OtherAccount as error:
        return unavailable(f"the gateway has another account's access key: {error}").response()
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return Problem(status, "internal", "an error of the gateway; its log has more").response()
    return response


def _of_http(error: web.HTTPException) -> Problem:
    status = HTTPStatus(error.status)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    details = {
        HTTPStatus.NOT_FOUND: "there is no such page: see /v1/openapi.json",
        HTTPStatus.METHOD_NOT_ALLOWED: f"the method is not allowed here: use {headers.get('Allow', '')}",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is larger than 64 KB",
    }
    word = status.phrase.lower().replace(" ", "-")
    return Problem(status, word, details.get(status, status.phrase), headers=headers)


def as_json(content: Any) -> str:
    return _encode(content)
