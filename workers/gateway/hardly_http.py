"""Answers what aiohttp cannot parse, or stumbles over itself: aiohttp's own text shows what was sent."""

from http import HTTPStatus

import structlog
from aiohttp import web

from workers.gateway.problems import Problem

log = structlog.get_logger(__name__)

DETAIL = "this cannot be read as HTTP: check the request line, the headers, their number and the length"


def handle_error(
    _: web.RequestHandler,
    request: web.BaseRequest,
    status: int = 500,
    exc: BaseException | None = None,
    message: str | None = None,  # noqa: ARG001 - aiohttp's signature
) -> web.StreamResponse:
    """Return a problem document, and close the connection. It stands for `RequestHandler.handle_error`."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request_failed", method=request.method, path=request.path, exc_info=exc)
        found = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "an error of the gateway")
    else:
        log.debug("request_unreadable", kind=type(exc).__name__)
        found = Problem(HTTPStatus(status), "unreadable", DETAIL)
    if request.writer.output_size > 0:
        raise ConnectionError("a part of another answer was sent already")
    response = found.response()
    response.force_close()
    return response


def install() -> None:
    """Use it in this process: aiohttp has no other place for it."""
    setattr(web.RequestHandler, "handle_error", handle_error)  # noqa: B010 - its type cannot be written
