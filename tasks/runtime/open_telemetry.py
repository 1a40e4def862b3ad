"""Spans by the OpenTelemetry SDK, sent by OTLP over HTTP. Imported only where traces are wanted.

The SDK's own variables say where to and how: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME and others.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode

from tasks.runtime.tracing import Attributes

NAME = "ehpc-scaleout"
UNNAMED = "unknown_service"
MAX_LINKS = 100
NS = 1_000_000


class OpenTelemetry:
    """Each span has the kind that its place in the system asks for, and no text of an error or URL."""

    def __init__(self, role: str) -> None:
        resource = Resource.create(
            {"service.version": version(NAME), "service.namespace": NAME, "scaleout.role": role}
        )
        if str(resource.attributes.get("service.name", "")).startswith(UNNAMED):
            resource = resource.merge(Resource({"service.name": NAME}))
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(NAME, version(NAME))

    @contextmanager
    def begin(
        self, name: str, parent: str | None, links: Iterable[str], attributes: Attributes
    ) -> Iterator[str]:
        span = self._tracer.start_span(
            name, context=_context(parent), links=_links(links), attributes=dict(attributes)
        )
        try:
            yield _traceparent(span.get_span_context())
        except BaseException as error:
            # Its text may hold what a trace must not: the kind is enough, and the log has the rest.
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            span.end()

    def record(
        self,
        name: str,
        began_ms: int,
        ended_ms: int,
        parent: str | None,
        links: Iterable[str],
        attributes: Attributes,
    ) -> None:
        span = self._tracer.start_span(
            name,
            context=_context(parent),
            kind=SpanKind.INTERNAL,
            links=_links(links),
            attributes=dict(attributes),
            start_time=began_ms * NS,
        )
        span.end(ended_ms * NS)

    def shut_down(self) -> None:
        self._provider.shutdown()


def _context(parent: str | None) -> Context:
    if parent is None:
        return Context()
    return set_span_in_context(NonRecordingSpan(_span_context(parent)), Context())


def _links(links: Iterable[str]) -> list[Link]:
    return [Link(_span_context(link)) for link in list(links)[:MAX_LINKS]]


def _span_context(traceparent: str) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))


def _traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
