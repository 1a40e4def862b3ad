"""The connections of a process to the API: a new one for each addNodes, kept ones for listings."""

import ssl
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tasks.ehpc.errors import NotSent

MOST = 64
# Of the call that is being made.
MAY_SEND: ContextVar[Callable[[], bool] | None] = ContextVar("MAY_SEND", default=None)
KEPT_S = 4.0  # less than a server keeps an idle connection: the least usual is five seconds


class ConnectionLost(aiohttp.ClientError):
    """The connection broke after the call had begun."""


async def never_resend(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending an idempotent call again when its connection breaks: it costs quota."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionLost(type(error).__name__) from error


class PunctualConnector(aiohttp.TCPConnector):
    """Asks once more whether a call may be sent when its connection is there, which can take long."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - its name in aiohttp
    ) -> Any:
        connection = await super().connect(req, traces, timeout)
        may_send = MAY_SEND.get()
        if may_send is not None and not may_send():
            connection.close()
            raise NotSent("it was too late to send it when the API was connected, and nothing was sent")
        return connection


@dataclass(frozen=True, slots=True)
class Connections:
    """`fresh`: each call on a connection of its own; `kept`: on one that an earlier call has left open.

    A kept connection may be closed by the provider while a call is written to it. Then it is unknown whether
    the call was read: harmless for a listing, but not for addNodes.
    """

    fresh: aiohttp.ClientSession
    kept: aiohttp.ClientSession

    @property
    def closed(self) -> bool:
        return self.fresh.closed

    async def close(self) -> None:
        await self.fresh.close()
        await self.kept.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def open_connections(
    kept_s: float = KEPT_S, *, ca_file: Path | None = None, proxy: str | None = None
) -> Connections:
    """Opened in the event loop that uses them, once a process. Close them after use.

    Args:
        kept_s: for how long a kept connection that is not used stays open, in seconds.
        ca_file: the authority that has signed the API's certificate, instead of the usual ones.
        proxy: its URL.
    """
    trusted: ssl.SSLContext | bool = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
    return Connections(
        fresh=_session(PunctualConnector(limit=MOST, force_close=True, ssl=trusted), proxy),
        kept=_session(aiohttp.TCPConnector(limit=MOST, keepalive_timeout=kept_s, ssl=trusted), proxy),
    )


def _session(connector: aiohttp.TCPConnector, proxy: str | None) -> aiohttp.ClientSession:
    """Return a session without cookies, proxies from the environment, or repeated calls."""
    return aiohttp.ClientSession(
        connector=connector,
        proxy=proxy,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(never_resend,),
        trust_env=False,
        auto_decompress=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )
