"""Send one call, once, and pass its reply to the decoders. Nothing is decided here."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TypeVar

import aiohttp
from yarl import URL

from tasks.ehpc import actions
from tasks.ehpc.actions import ApiRequest
from tasks.ehpc.connections import MAY_SEND, ConnectionLost, Connections
from tasks.ehpc.errors import EhpcError, InDoubt, NotSent
from tasks.ehpc.models import JobAccepted, JobPage, NodePage
from tasks.ehpc.replies import MAX_BYTES, Reply, add_nodes_response, jobs_response, nodes_response
from tasks.ehpc.signature import Credentials, SigningRules, signed_query

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call, for logs and metrics."""

    action: str
    zone: str
    duration_s: float
    http_status: int | None
    ret_code: int | None
    error_kind: str | None


class EhpcClient:
    """The API's calls. Times in seconds; `now_ms` is what the provider's clock is compared with."""

    def __init__(
        self,
        connections: Connections,
        base_url: str,
        credentials: Credentials,
        rules: SigningRules,
        *,
        timeout_s: float,
        connect_timeout_s: float,
        now_ms: Callable[[], int],
        on_call: Callable[[CallReport], None],
    ) -> None:
        self._connections = connections
        self._base = base_url.rstrip("/")
        self._credentials = credentials
        self._rules = rules
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_timeout_s)
        self._now_ms = now_ms
        self._on_call = on_call
        self.skew_s: float | None = None
        self.skew_at_ms = 0

    async def add_nodes(
        self, zone: str, body: bytes, sent_at: datetime, may_send: Callable[[], bool]
    ) -> JobAccepted:
        """Send `body` once, signed with exactly `sent_at`.

        Args:
            may_send: asked just before the call is written: a process may be stopped while it connects.

        Raises:
            EhpcError: NotSent if it is too late; else by the reply, or for want of one.
        """
        token = MAY_SEND.set(may_send)
        try:
            return await self._call(actions.add_nodes(zone, body), sent_at, add_nodes_response)
        finally:
            MAY_SEND.reset(token)

    async def list_jobs(
        self,
        zone: str,
        *,
        at: datetime,
        offset: int,
        newest_first: bool,
        start_time: datetime | None = None,
        resource_ids: str | None = None,
        job_ids: str | None = None,
    ) -> JobPage:
        """Return a page of the operation log. Raises EhpcError."""
        request = actions.list_jobs(
            zone,
            offset=offset,
            newest_first=newest_first,
            start_time=start_time,
            resource_ids=resource_ids,
            job_ids=job_ids,
        )
        return await self._call(request, at, jobs_response)

    async def list_nodes(self, zone: str, cluster_id: str, *, at: datetime, offset: int) -> NodePage:
        """Return a page of a cluster's nodes. Raises EhpcError."""
        return await self._call(actions.list_nodes(zone, cluster_id, offset=offset), at, nodes_response)

    async def _call(self, request: ApiRequest, at: datetime, decode: Callable[[Reply], T]) -> T:
        began = time.monotonic()
        reply: Reply | None = None
        failed: EhpcError | None = None
        try:
            reply = await self._send(request, at)
            return decode(reply)
        except EhpcError as error:
            failed = error
            raise
        finally:
            self._on_call(
                CallReport(
                    action=request.action,
                    zone=request.params["zone"],
                    duration_s=time.monotonic() - began,
                    http_status=None if reply is None else reply.http_status,
                    ret_code=failed.ret_code if failed is not None else 0 if reply is not None else None,
                    error_kind=None if failed is None else failed.kind,
                )
            )

    async def _send(self, request: ApiRequest, at: datetime) -> Reply:
        path = URL(self._base).path.rstrip("/") + request.path
        query = signed_query(
            request.method, path, request.params, request.body, at, self._credentials, self._rules
        )
        # Already encoded, and signed as it is: yarl must not touch it again.
        url = URL(f"{self._base}{request.path}?{query}", encoded=True)
        if self._connections.closed:
            raise NotSent("this process is shutting down")
        session = self._connections.kept if request.only_reads else self._connections.fresh
        try:
            async with session.request(
                request.method,
                url,
                data=request.body or None,
                headers={"Content-Type": "application/json"} if request.body else None,
                allow_redirects=False,
                timeout=self._timeout,
            ) as response:
                skew_s = self._skew_s(response.headers.get("Date"))
                return replace(await _read(response), skew_s=skew_s)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"the API could not be reached: {_reason(error)}") from None
        except TimeoutError:
            raise InDoubt(f"no reply within {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise InDoubt(f"the connection broke before the reply was there: {_reason(error)}") from None

    def _skew_s(self, date: str | None) -> float | None:
        """Return, and keep, how far the provider's clock is ahead of ours, if it says its time."""
        try:
            # The header has whole seconds, so on average it is half a second behind.
            now = self._now_ms()
            self.skew_s, self.skew_at_ms = _seconds(date or "") + 0.5 - now / 1000, now
        except (TypeError, ValueError, OverflowError):
            return None
        return self.skew_s


@lru_cache(maxsize=8)
def _seconds(date: str) -> float:
    """Parse a `Date` header once: dozens of replies a second have the same."""
    return parsedate_to_datetime(date).timestamp()


async def _read(response: aiohttp.ClientResponse) -> Reply:
    """Read at most MAX_BYTES of the body; one that is longer, cut off or compressed has a flaw."""
    body, flaw = bytearray(), None
    try:
        async for chunk in response.content.iter_chunked(65_536):
            body += chunk
            if len(body) > MAX_BYTES:
                flaw = f"larger than {MAX_BYTES} bytes"
                response.close()
                break
    except (aiohttp.ClientPayloadError, ConnectionLost, aiohttp.ClientConnectionError):
        flaw = "cut off"
    if flaw is None and response.headers.get("Content-Encoding", "identity").lower() != "identity":
        flaw = "compressed, although that was not requested"
    return Reply(response.status, bytes(body[:MAX_BYTES]), flaw, response.headers.get("Retry-After"))


def _reason(error: BaseException) -> str:
    """Return no text of the error itself: it may contain the URL, and so the signature."""
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__
