"""Errors that nobody caught, as log lines: the interpreter's own tracebacks are not redacted."""

from __future__ import annotations

import sys
import threading
from types import TracebackType

import structlog
from structlog.stdlib import BoundLogger


def log_uncaught_errors() -> None:
    """From now on, whatever thread or finalizer they come from."""
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable


def _log() -> BoundLogger:
    # Asked for when it is needed: the loggers of this process are configured later than this is read.
    logger: BoundLogger = structlog.stdlib.get_logger(__name__)
    return logger


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    """Instead of the interpreter's traceback on standard error, which is not redacted."""
    if issubclass(kind, KeyboardInterrupt):
        _log().warning("interrupted")
        return
    _log().critical("uncaught_exception", exc_info=_with_trace(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if issubclass(args.exc_type, SystemExit):
        return
    _log().critical(
        "uncaught_exception",
        thread=args.thread.name if args.thread else None,
        exc_info=_with_trace(args.exc_type, args.exc_value, args.exc_traceback),
    )


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    _log().error(
        "unraisable_exception",
        where=unraisable.err_msg or "Exception ignored in",
        object=unraisable.object,
        exc_info=_with_trace(unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback),
    )


def _with_trace(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> BaseException:
    error = kind() if error is None else error
    return error.with_traceback(trace) if error.__traceback__ is None else error
