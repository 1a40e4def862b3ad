"""Traces of requests, from the producer's to their end. Off, and without cost, until `start` is called.

A request keeps the W3C trace context that it came with (https://www.w3.org/TR/trace-context/): it survives
the hours between acceptance and end, and any worker goes on from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from structlog.contextvars import bound_contextvars

TRACEPARENT = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")
Value = str | int | float | bool
Attributes = Mapping[str, Value]

_given: ContextVar[str | None] = ContextVar("traceparent", default=None)


class Backend(Protocol):
    """What makes spans: OpenTelemetry, if it is there and wanted."""

    def begin(
        self, name: str, parent: str | None, links: Iterable[str], attributes: Attributes
    ) -> AbstractContextManager[str]:
        """Begin a span that ends with the context; it yields the span's own traceparent."""
        ...

    def record(
        self,
        name: str,
        began_ms: int,
        ended_ms: int,
        parent: str | None,
        links: Iterable[str],
        attributes: Attributes,
    ) -> None:
        """Make a span that has ended."""
        ...

    def shut_down(self) -> None:
        """Send what has not been sent."""
        ...


_backend: Backend | None = None


def start(backend: Backend) -> None:
    """Make spans from now on, in this process."""
    global _backend
    _backend = backend


def stop() -> None:
    """Send what has not been sent."""
    global _backend
    if _backend is not None:
        _backend.shut_down()
    _backend = None


def is_on() -> bool:
    return _backend is not None


def valid(traceparent: object) -> str | None:
    """Return a producer's trace context; None for anything else."""
    text = traceparent if isinstance(traceparent, str) else ""
    return text if TRACEPARENT.match(text) else None


def current() -> str | None:
    """Return the trace context of the work that runs here: what a request that it makes is to keep."""
    return _given.get()


def span(
    name: str, *, parent: str | None = None, links: Iterable[str | None] = (), **attributes: Value
) -> AbstractContextManager[None]:
    """Make a span of what runs in this context; its ids are in the log lines. If off, pass `parent` on."""
    if _backend is None:
        return nullcontext() if parent is None else _passed_on(parent)
    return _begun(_backend, name, parent, [link for link in links if link], attributes)


def record(
    name: str,
    began_ms: int,
    ended_ms: int,
    *,
    parent: str | None = None,
    links: Iterable[str | None] = (),
    **attributes: Value,
) -> None:
    """Make a span of what has ended already."""
    if _backend is not None:
        _backend.record(name, began_ms, ended_ms, parent, [link for link in links if link], attributes)


@contextmanager
def _passed_on(parent: str) -> Iterator[None]:
    token = _given.set(parent)
    try:
        yield
    finally:
        _given.reset(token)


@contextmanager
def _begun(
    backend: Backend, name: str, parent: str | None, links: list[str], attributes: Attributes
) -> Iterator[None]:
    with backend.begin(name, parent, links, attributes) as own:
        _, trace_id, span_id, _ = own.split("-")
        token = _given.set(own)
        try:
            with bound_contextvars(trace_id=trace_id, span_id=span_id):
                yield
        finally:
            _given.reset(token)
