"""Log errors that nobody caught: the interpreter's own tracebacks are not redacted."""

import sys
import threading
from typing import Any

import structlog


def log_uncaught_errors() -> None:
    """Log them from now on, from whatever thread or finalizer they come."""
    sys.excepthook = lambda *exc_info: _log("uncaught_exception", exc_info)
    threading.excepthook = lambda args: _log(
        "uncaught_exception", args[:3], thread=args.thread.name if args.thread else None
    )
    sys.unraisablehook = lambda args: _log(
        "unraisable_exception", (args.exc_type, args.exc_value, args.exc_traceback), object=args.object
    )


def _log(event: str, exc_info: Any, **fields: object) -> None:
    # Looked up when it is needed: logging is configured later than this is imported.
    log = structlog.get_logger(__name__)
    if issubclass(exc_info[0], KeyboardInterrupt):
        log.warning("interrupted")
    elif not issubclass(exc_info[0], SystemExit):
        log.critical(event, exc_info=exc_info, **fields)
