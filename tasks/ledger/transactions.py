"""Steps that are read, decided and written again until nobody was faster."""

from __future__ import annotations

from typing import Any

import structlog

from tasks.ledger.change_set import Changes

log = structlog.get_logger(__name__)

MOST_CONTENTION = 50


class Contention(RuntimeError):  # noqa: N818 - named by what happened
    """A step was overtaken by others again and again; its due entry brings it up once more."""


def tell(changes: Changes) -> None:
    """One log line for each event; a line about one request carries its id."""
    for event in changes.events:
        about: dict[str, Any] = {key: value for key, value in event.fields.items() if value is not None}
        # structlog's own name for the line's text
        if "message" in about:
            about["detail"] = about.pop("message")
        if len(event.requests) == 1:
            about["request_id"] = event.requests[0]
        elif event.requests:
            about["request_ids"] = list(event.requests[:20])
        getattr(log, event.level)(event.name, **about)
