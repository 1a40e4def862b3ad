"""Answers that go wrong on the wire: what proxies, networks and a provider in trouble send instead."""

import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from workers.simulator.faults import Fault

HUGE = 50 * 1024 * 1024
CHUNK = b" " * 65_536
HANG_S = 3600.0


async def faulty_answer(
    request: web.Request,
    content: dict[str, Any],
    fault: Fault,
    headers: dict[str, str],
    sleep: Callable[[float], Awaitable[None]],
) -> web.StreamResponse:
    """What the caller gets instead of `content`; `sleep` ends early when the server stops."""
    match fault.kind:
        case "ret_code":
            refusal = {"ret_code": fault.code, "message": fault.message}
            return web.json_response({**refusal, "action": content["action"]}, headers=headers)
        case "html":
            page = "<html><body><h1>502 Bad Gateway</h1></body></html>"
            return web.Response(status=502, text=page, content_type="text/html", headers=headers)
        case "empty":
            return web.Response(headers=headers)
        case "not_json":
            return web.Response(text="OK", headers=headers)
        case "no_job_id":
            rest = {name: value for name, value in content.items() if name != "job_id"}
            return web.json_response(rest, headers=headers)
        case "http_status":
            more = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return web.Response(status=fault.status, text="{}", headers={**headers, **more})
        case "redirect":
            return web.Response(status=307, headers={**headers, "Location": request.path_qs})
        case "huge":
            return await _huge(request, headers)
        case "cut_off":
            return await _cut_off(request, json.dumps(content).encode(), headers)
        case "hang":
            await sleep(HANG_S)
        case "reset":
            _reset(request)
    _close(request)
    return web.Response()


async def _huge(request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for _ in range(HUGE // len(CHUNK)):
        await response.write(CHUNK)
    return response


async def _cut_off(request: web.Request, text: bytes, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={**headers, "Content-Length": str(len(text) + 100)})
    await response.prepare(request)
    await response.write(text[: len(text) // 2])
    _close(request)
    return response


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.Request) -> None:
    """RST instead of FIN: with a linger time of 0 the kernel drops the connection."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
