"""The log lines of what was written to the ledger."""

from collections.abc import Iterable
from typing import Any

import structlog

from tasks.ledger.events import Event
from tasks.runtime.process_metrics import EVENTS

log = structlog.get_logger(__name__)

MAX_REQUESTS_SHOWN = 20


def log_events(events: Iterable[Event]) -> None:
    """Log one line for each event; a line about a single request carries its id."""
    for event in events:
        about: dict[str, Any] = {key: value for key, value in event.fields.items() if value is not None}
        # structlog's own name for the line's text
        if "message" in about:
            about["detail"] = about.pop("message")
        if len(event.requests) == 1:
            about["request_id"] = event.requests[0]
        elif event.requests:
            about["request_ids"] = list(event.requests[:MAX_REQUESTS_SHOWN])
        EVENTS.labels(event.name).inc()
        getattr(log, event.level)(event.name, **about)
