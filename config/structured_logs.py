"""Logs: one line an event, from our own loggers and everybody else's, with no secret in it.

structlog's loggers hand their events to the standard library's, and one handler at its root renders both
through the same processors. Wrong use of a logger, an object that cannot be shown or a stream that is gone
costs at most that line: nothing is raised to the caller.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, TextIO

import structlog
from structlog.contextvars import bound_contextvars, get_contextvars
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

from config.log_lines import console_line, json_line
from config.log_values import repr_of, text_of
from config.redaction import register_secrets
from config.timestamps import timestamp
from config.uncaught_errors import log_uncaught_errors

__all__ = ["configure_logging", "get_logger", "log_context"]

# These tell about every message or request; what goes wrong with them, they tell at WARNING.
QUIET = ("kombu", "amqp", "aiohttp.access")

_LEVELS = {"CRITICAL": 50, "ERROR": 40, "WARNING": 30, "INFO": 20, "DEBUG": 10}
_METHOD_LEVELS = {name.lower(): number for name, number in _LEVELS.items()} | {"exception": 40, "warn": 30}

# Until logging is configured, the standard library alone decides.
_threshold = 0


def configure_logging(
    *,
    log_format: Literal["json", "console"],
    level: str,
    secrets: Iterable[str],
    stream: TextIO | None = None,
) -> None:
    """Send every log line of the process to `stream` (standard error, if none is given), redacted.

    Shape: `level` is one of DEBUG, INFO, WARNING, ERROR, CRITICAL; `secrets` are values to hide, see
    `config.redaction.register_secrets`. Handlers that others have installed are removed: a line they wrote
    would be neither redacted nor the only one. Calling again replaces what the call before has set, except
    that secrets once registered stay hidden.
    Source: `LedgerSettings`; called by each program at its start, and by workers when Celery asks.
    """
    global _threshold
    number = _LEVELS.get(level.upper())
    if number is None:
        raise ValueError(f"level must be one of {', '.join(_LEVELS)}, not {level!r}")
    register_secrets(secrets)
    render = _json if log_format == "json" else _Console(_wants_colours(stream))
    handler = _LineHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[_arrange, render],
            # Messages are put together by `_arrange`, which survives arguments that do not fit.
            use_get_message=False,
            pass_foreign_args=True,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    _let_all_reach_the_root()
    for name in QUIET:
        logging.getLogger(name).setLevel(number if number <= logging.DEBUG else max(number, logging.WARNING))
    _threshold = number
    _spare_what_no_line_shows()
    logging.captureWarnings(True)
    log_uncaught_errors()


def get_logger(name: str) -> BoundLogger:
    """A logger for a module's events: `log.info("request_accepted", request_id=…)`.

    Shape: the first argument is the event, a stable snake_case name; everything else is a keyword.
    Logging an event below the configured level does no work.
    """
    logger: BoundLogger = structlog.stdlib.get_logger(name).bind()
    return logger


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Within the block, every line of this thread or coroutine has these fields, whoever logs it.

    Fields of the same name from outside come back afterwards.
    """
    with bound_contextvars(**fields):
        yield


class _Logger(BoundLogger):
    """structlog's logger, which looks at the level before anything else and never raises."""

    def log(self, level: int, event: str | None = None, *args: Any, **kw: Any) -> Any:
        method = next((name for name, number in _LEVELS.items() if number <= level), "DEBUG").lower()
        return self._proxy_to_logger(method, event, *args, **kw)

    def _proxy_to_logger(
        self, method_name: str, event: str | None = None, *event_args: str, **event_kw: Any
    ) -> Any:
        if _METHOD_LEVELS.get(method_name, 50) < _threshold:
            return None
        try:
            return super()._proxy_to_logger(method_name, event, *event_args, **event_kw)
        except Exception as error:  # noqa: BLE001 - what is logged must not decide what is done
            _report_failure(self._logger.name, error)
            return None


class _LineHandler(logging.Handler):
    """Writes each line with one call, and formats outside its lock: a slow repr holds up nobody else."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def handle(self, record: logging.LogRecord) -> bool:
        if not self.filter(record):
            return False
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - as above
            line = _failure_line(record.name, error)
        self._write(line + "\n")
        return True

    def _write(self, line: str) -> None:
        # Standard error is looked up each time, as it may be replaced; it is None in a process without one.
        stream = self._stream if self._stream is not None else sys.stderr
        if stream is None:
            return
        # A stream that is closed, full or broken takes no report about that either.
        with suppress(Exception), self.lock or threading.RLock():
            try:
                stream.write(line)
            except UnicodeEncodeError:
                encoding = getattr(stream, "encoding", None) or "ascii"
                stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()


class _Console:
    """The last processor when people read."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: WrappedLogger, _method: str, fields: EventDict) -> str:
        return console_line(fields, colours=self._colours)


def _json(_logger: WrappedLogger, _method: str, fields: EventDict) -> str:
    """The last processor when machines read."""
    return json_line(fields)


def _wants_colours(stream: TextIO | None) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    try:
        return bool((stream or sys.stderr).isatty())
    except (AttributeError, ValueError):
        return False


def _arrange(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """The fields in the order of a line: when, how bad, who, what, then context, then the error."""
    record: logging.LogRecord = fields.pop("_record")
    fields.pop("_from_structlog", None)
    event = _message(fields.pop("event", None), fields.pop("positional_args", None))
    error = _exception(fields.pop("exc_info", None))
    stack = fields.pop("stack_info", None)
    fields = {**get_contextvars(), **fields}
    line: EventDict = {
        "timestamp": timestamp(int(record.created * 1000)),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event,
    }
    if "trace_id" in fields:
        line["trace_id"] = fields.pop("trace_id")
    for name, value in fields.items():
        # A field named as one of ours must neither replace it nor be lost.
        line[f"{name}_" if name in ("timestamp", "level", "logger", "event", "exception") else name] = value
    if stack:
        line["stack"] = _stack(stack)
    if error is not None:
        line.setdefault("error.type", _type_name(type(error)))
        line.setdefault("error.message", text_of(error))
        line["exception"] = _traceback(error)
    return line


def _message(event: object, arguments: object) -> str:
    """The event with its %-arguments in place, or beside it if they do not fit."""
    text = event if isinstance(event, str) else text_of("" if event is None else event)
    if not arguments:
        return text.rstrip("\n")
    try:
        return text % arguments
    except Exception:  # noqa: BLE001 - a wrong format string, or an argument that cannot be shown
        return f"{text} % {_each_repr(arguments)}"


def _each_repr(arguments: object) -> str:
    if isinstance(arguments, Mapping):
        return "{" + ", ".join(f"{repr_of(k)}: {repr_of(v)}" for k, v in arguments.items()) + "}"
    if isinstance(arguments, tuple | list):
        return "(" + ", ".join(repr_of(argument) for argument in arguments) + ")"
    return repr_of(arguments)


def _exception(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return next((part for part in exc_info if isinstance(part, BaseException)), None)
    return sys.exception() if exc_info else None


def _type_name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception as failure:  # noqa: BLE001 - exceptions can be as hostile as any object
        return f"{_type_name(type(error))}: {text_of(error)} (no traceback: {type(failure).__name__})"


def _stack(stack: object) -> str:
    return "".join(traceback.format_stack()) if stack is True else text_of(stack)


def _spare_what_no_line_shows() -> None:
    """Who called, on which thread, in which process: half of what a record costs.

    Source: docs.python.org, Logging HOWTO, "Optimization".
    """
    logging._srcfile = None  # noqa: SLF001 - named by the HOWTO
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False


def _let_all_reach_the_root() -> None:
    """Take away handlers and barriers of other loggers, so that their lines come to ours, and only there."""
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers[:] = [h for h in logger.handlers if isinstance(h, logging.NullHandler)]
            logger.propagate = True


def _failure_line(logger: str, error: BaseException) -> str:
    # Names of types only: whatever made the line fail might make this one fail too.
    return json_line(
        {
            "timestamp": timestamp(int(time.time() * 1000)),
            "level": "error",
            "logger": str(logger),
            "event": "log_line_failed",
            "error.type": _type_name(type(error)),
        }
    )


def _report_failure(logger: str, error: BaseException) -> None:
    with suppress(Exception):
        logging.getLogger("config.structured_logs").error(
            "log_line_failed for %s: %s", logger, _type_name(type(error))
        )


def _standard_logger(*name: str) -> logging.Logger:
    # Not structlog's factory: it replaces the logger class of the whole process to find callers, unused here.
    return logging.getLogger(*name)


# At import, so that a logger used before `configure_logging` does not print to standard output.
structlog.configure(
    processors=[ProcessorFormatter.wrap_for_formatter],
    wrapper_class=_Logger,
    logger_factory=_standard_logger,
    context_class=dict,
    cache_logger_on_first_use=True,
)
