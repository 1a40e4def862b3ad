"""A client of `scaleout gateway`: request nodes, wait for them, cancel.

It needs the standard library alone; `AsyncScaleoutClient` needs aiohttp, and imports it when it is made.

    with ScaleoutClient("http://127.0.0.1:8080", token) as client:
        client.request("ehpc-8jqdq0mz", "jn1a", 4, request_id="nightly-4711")
        outcome = client.wait("nightly-4711")

What was not answered is sent again with the same `request_id`, which buys nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

__all__ = ["AsyncScaleoutClient", "NotSucceeded", "ScaleoutClient", "ScaleoutError", "Unreachable"]

WAIT_S = 30.0  # of one call; the gateway allows 60
TIMEOUT_S = 15.0
GIVE_UP_S = 120.0
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 10.0
AGAIN = frozenset({429, 502, 503, 504})
SUCCEEDED = "succeeded"
MAX_TEXT = 300


class ScaleoutError(Exception):
    """The gateway refused.

    Fields:
        status: of HTTP.
        problem: the problem document (RFC 9457); empty if the answer was none.
        errors: pairs of field and message, if single fields are wrong.
    """

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        self.errors = [(str(one.get("field")), str(one.get("message"))) for one in problem.get("errors", ())]
        super().__init__(
            f"{status}: {problem.get('detail') or problem.get('title') or 'no problem document'}"
        )


class Unreachable(Exception):  # noqa: N818 - named by what is the matter
    """No usable answer came in time. What was sent may have arrived.

    `request_id`: of the request that was made, if it was one: made again under it, it is bought once.
    """

    def __init__(self, text: str, request_id: str | None = None) -> None:
        self.request_id = request_id
        super().__init__(text)


class NotSucceeded(Exception):  # noqa: N818 - named by what happened
    """The request has ended otherwise. `outcome`: how; nodes may have been added all the same."""

    def __init__(self, outcome: dict[str, Any]) -> None:
        self.outcome = outcome
        error = outcome.get("error") or {}
        added, wanted = outcome.get("nodes_added"), outcome.get("nodes_requested")
        reason = f": {error['message']}" if error.get("message") else ""
        super().__init__(
            f"request {outcome.get('request_id')} {outcome.get('status')}, {added} of {wanted} nodes{reason}"
        )


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    body: dict[str, Any] | None = None
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class _Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class _Reply:
    """`status` is None if nothing came back."""

    status: int | None
    content: dict[str, Any] = field(default_factory=dict)
    retry_after_s: float = 0.0
    problem: str = ""


T = TypeVar("T")
_Talk = Generator[_Call | _Pause, _Reply, T]


def _call(call: _Call, give_up_s: float, now: Callable[[], float]) -> _Talk[dict[str, Any]]:
    """Make a call again until it is answered. Every call of this client may be made twice."""
    deadline, pause_s = now() + give_up_s, FIRST_PAUSE_S
    while True:
        reply = yield call
        if reply.status is not None and reply.status not in AGAIN:
            if reply.status >= 400:
                raise ScaleoutError(reply.status, reply.content)
            return reply.content
        wait_s = max(pause_s, reply.retry_after_s)
        if now() + wait_s > deadline:
            said = reply.problem or f"it answered {reply.status}: {reply.content.get('detail', '')}"
            name = None if call.body is None else call.body.get("request_id")
            made = "" if name is None else f"; request_id {name} may have been accepted: use it again"
            raise Unreachable(f"the gateway gave no answer to {call.method} {call.path}: {said}{made}", name)
        yield _Pause(wait_s)
        pause_s = min(2 * pause_s, LAST_PAUSE_S)


def _wait(
    name: str, timeout_s: float | None, give_up_s: float, now: Callable[[], float]
) -> _Talk[dict[str, Any]]:
    deadline = None if timeout_s is None else now() + timeout_s
    while True:
        left_s = WAIT_S if deadline is None else min(WAIT_S, max(0.0, deadline - now()))
        path = f"{_one(name)}?{urlencode({'wait': round(left_s, 3)})}"
        document = yield from _call(_Call("GET", path, timeout_s=left_s + TIMEOUT_S), give_up_s, now)
        outcome = document.get("outcome")
        if outcome is not None:
            if outcome["status"] != SUCCEEDED:
                raise NotSucceeded(outcome)
            return dict(outcome)
        if deadline is not None and now() >= deadline:
            raise TimeoutError(
                f"request {name} is {document.get('state')} after {timeout_s:g} s, and goes on"
            )


def _new(
    cluster_id: str, zone: str, node_count: int, request_id: str | None, fields: dict[str, Any]
) -> _Call:
    given = {"cluster_id": cluster_id, "zone": zone, "node_count": node_count, **fields}
    return _Call("POST", "/v1/requests", {"request_id": request_id or str(uuid.uuid4()), **given})


def _cancelling(name: str, reason: str | None) -> _Call:
    return _Call("POST", f"{_one(name)}/cancel", {} if reason is None else {"reason": reason})


def _one(name: str) -> str:
    return f"/v1/requests/{quote(name, safe='')}"


def _reply(status: int, raw: bytes, retry_after: str | None) -> _Reply:
    try:
        content = json.loads(raw or b"{}")
    except ValueError:
        content = {}
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
    return _Reply(status, content if isinstance(content, dict) else {}, min(seconds, 60.0))


def _failed(error: BaseException) -> _Reply:
    return _Reply(None, problem=f"{type(error).__name__}: {error}"[:MAX_TEXT])


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    return {**headers, "Authorization": f"Bearer {token}"} if token else headers


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url!r} is not the address of a gateway: write it as http://127.0.0.1:8080")
    return url.rstrip("/")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow none: the token would go along."""

    def redirect_request(self, *_: Any) -> None:
        return None


class ScaleoutClient:
    """Calls a gateway and waits for it; one may be used by several threads.

    Args:
        url: of the gateway, such as `http://127.0.0.1:8080`.
        token: of this client; None where the gateway needs none.
        give_up_s: for how many seconds a call is made again while the gateway does not answer.
    """

    def __init__(self, url: str, token: str | None = None, *, give_up_s: float = GIVE_UP_S) -> None:
        self._url = _base(url)
        self._headers = _headers(token)
        self._give_up_s = give_up_s
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is kept open."""

    def request(
        self, cluster_id: str, zone: str, node_count: int, *, request_id: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Request nodes; return the status document.

        Args:
            request_id: the same id with the same content is the same request; without one, a new one is made.
            fields: further ones of a request, such as `deadline_s`.

        Raises:
            ScaleoutError: the gateway refused; `errors` names the fields.
            Unreachable: it did not answer in time.
        """
        call = _new(cluster_id, zone, node_count, request_id, fields)
        return self._talk(_call(call, self._give_up_s, time.monotonic))

    def status(self, request_id: str) -> dict[str, Any]:
        """Return the status document as it is now."""
        return self._talk(_call(_Call("GET", _one(request_id)), self._give_up_s, time.monotonic))

    def wait(self, request_id: str, timeout_s: float | None = None) -> dict[str, Any]:
        """Return the outcome of a request that succeeds.

        Raises:
            NotSucceeded: it has ended otherwise.
            TimeoutError: it has not ended in `timeout_s` seconds; it goes on.
        """
        return self._talk(_wait(request_id, timeout_s, self._give_up_s, time.monotonic))

    def cancel(self, request_id: str, reason: str | None = None) -> dict[str, Any]:
        """Cancel a request: it gets no further nodes. Return the status document."""
        call = _cancelling(request_id, reason)
        return self._talk(_call(call, self._give_up_s, time.monotonic))

    def _talk(self, talk: _Talk[T]) -> T:
        reply: _Reply | None = None
        try:
            while True:
                step = next(talk) if reply is None else talk.send(reply)
                if isinstance(step, _Pause):
                    time.sleep(step.seconds)
                    reply = None
                else:
                    reply = self._send(step)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _send(self, call: _Call) -> _Reply:
        body = None if call.body is None else json.dumps(call.body).encode()
        request = urllib.request.Request(  # noqa: S310 - _base allows http and https alone
            self._url + call.path, data=body, headers=self._headers, method=call.method
        )
        try:
            with self._opener.open(request, timeout=call.timeout_s) as answer:
                return _reply(answer.status, answer.read(), answer.headers.get("Retry-After"))
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error.read(), error.headers.get("Retry-After"))
        except (OSError, HTTPException) as error:
            return _failed(error)


class AsyncScaleoutClient:
    """As ScaleoutClient, in an event loop. Use it as an `async with` context."""

    def __init__(self, url: str, token: str | None = None, *, give_up_s: float = GIVE_UP_S) -> None:
        self._url = _base(url)
        self._headers = _headers(token)
        self._give_up_s = give_up_s
        self._session: Any = None

    async def __aenter__(self) -> Self:
        import aiohttp

        self._session = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(
        self, cluster_id: str, zone: str, node_count: int, *, request_id: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Request nodes; return the status document. Raises as ScaleoutClient does."""
        call = _new(cluster_id, zone, node_count, request_id, fields)
        return await self._talk(_call(call, self._give_up_s, time.monotonic))

    async def status(self, request_id: str) -> dict[str, Any]:
        """Return the status document as it is now."""
        return await self._talk(_call(_Call("GET", _one(request_id)), self._give_up_s, time.monotonic))

    async def wait(self, request_id: str, timeout_s: float | None = None) -> dict[str, Any]:
        """Return the outcome of a request that succeeds. Raises as ScaleoutClient does."""
        return await self._talk(_wait(request_id, timeout_s, self._give_up_s, time.monotonic))

    async def cancel(self, request_id: str, reason: str | None = None) -> dict[str, Any]:
        """Cancel a request: it gets no further nodes. Return the status document."""
        call = _cancelling(request_id, reason)
        return await self._talk(_call(call, self._give_up_s, time.monotonic))

    async def _talk(self, talk: _Talk[T]) -> T:
        reply: _Reply | None = None
        try:
            while True:
                step = next(talk) if reply is None else talk.send(reply)
                if isinstance(step, _Pause):
                    await asyncio.sleep(step.seconds)
                    reply = None
                else:
                    reply = await self._send(step)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def _send(self, call: _Call) -> _Reply:
        import aiohttp

        if self._session is None:
            raise RuntimeError("use it as `async with AsyncScaleoutClient(…) as client`")
        body = None if call.body is None else json.dumps(call.body).encode()
        try:
            async with self._session.request(
                call.method,
                self._url + call.path,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=call.timeout_s),
            ) as answer:
                return _reply(answer.status, await answer.read(), answer.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError) as error:
            return _failed(error)
