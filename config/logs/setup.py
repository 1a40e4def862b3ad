"""Set up logging: structlog's loggers and the standard library's write the same lines, one an event.

A wrong use of a logger, an object that cannot be shown or a closed stream costs at most that line.
"""

import json
import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal, TextIO

import structlog
from structlog.contextvars import merge_contextvars
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import JSONRenderer, format_exc_info
from structlog.stdlib import BoundLogger, ProcessorFormatter, filter_by_level
from structlog.typing import EventDict, Processor, WrappedLogger

from config.logs.redaction import may_hold_secret, redact, register_secrets
from config.logs.uncaught import log_uncaught_errors
from config.logs.values import MIN_TEXT, field, plain, redacted, shortened, text_of
from config.timestamps import timestamp

# Characters of a line, its end included: collectors cut longer ones, and a cut line is not JSON.
MAX_LINE = 64 * 1024

HEAD = ("timestamp", "level", "logger", "event")
# They log every message or request; what goes wrong with them, they log at WARNING.
QUIET = ("kombu", "amqp", "aiohttp.access")

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def configure_logging(
    *,
    log_format: Literal["json", "console"],
    level: str,
    secrets: Iterable[str],
    stream: TextIO | None = None,
) -> None:
    """Send every log line of the process to `stream`, redacted. Calling again replaces the settings.

    Handlers that others have installed are removed: their lines would not be redacted.

    Args:
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL; ValueError for any other.
        secrets: values to hide; once registered, they stay hidden.
        stream: standard error, if none is given.
    """
    if level.upper() not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    number = getattr(logging, level.upper())
    register_secrets(secrets)
    handler = _LineHandler(stream)
    render = _safely(_json if log_format == "json" else _console(handler.stream))
    chain = (_arrange, merge_contextvars, format_exc_info, _plain, render)
    handler.setFormatter(ProcessorFormatter(processors=chain))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
    for name in QUIET:
        logging.getLogger(name).setLevel(number if number <= logging.DEBUG else max(number, logging.WARNING))
    # What no line shows is half of what a record costs. Source: docs.python.org, Logging HOWTO, Optimization.
    logging._srcfile = None  # noqa: SLF001 - named by the HOWTO
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.captureWarnings(True)
    log_uncaught_errors()


class _Logger(BoundLogger):
    """A logger that never raises."""

    def _proxy_to_logger(self, *args: Any, **fields: Any) -> Any:
        with suppress(Exception):
            super()._proxy_to_logger(*args, **fields)


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines. Standard error is looked up for each, as it may be replaced."""

    def __init__(self, stream: TextIO | None) -> None:
        self._given = stream
        super().__init__(stream)

    @property
    def stream(self) -> Any:
        return self._given if self._given is not None else sys.stderr

    @stream.setter
    def stream(self, _: object) -> None: ...

    def format(self, record: logging.LogRecord) -> str:
        try:
            line = super().format(record)
        except Exception as error:  # noqa: BLE001 - what is logged must not decide what is done
            line = _failure_line(record, error)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return line if line.isascii() else line.encode(encoding, "backslashreplace").decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Drop the line: the stream is closed, full or broken, and takes no report about that either."""


def _arrange(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Add when, how bad, who and what. A field named as one of these is renamed, not lost."""
    record: logging.LogRecord = fields.pop("_record")
    fields.pop("_from_structlog", None)
    error = fields.get("exc_info")
    error = error[1] if isinstance(error, tuple) else sys.exception() if error is True else error
    line = {
        "timestamp": timestamp(int(record.created * 1000)),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": text_of(fields.pop("event", "")).rstrip("\n"),
        **{f"{name}_" if name in HEAD else name: value for name, value in fields.items()},
    }
    if isinstance(error, BaseException):
        line |= {"error.type": _type_name(error), "error.message": text_of(error)}
    return line


def _plain(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Make every value plain; the line begins with its head, then the trace's id."""
    head = {name: plain(fields.pop(name)) for name in (*HEAD, "trace_id") if name in fields}
    return head | {plain(name): field(name, value) for name, value in fields.items()}


_encode = json.JSONEncoder(allow_nan=False).encode
_json = JSONRenderer(serializer=lambda fields, **_: _encode(fields).replace("\x7f", "\\u007f"))


def _console(stream: TextIO | None) -> Processor:
    """Render for people. Only a traceback has more lines, and each of those is indented."""
    colors = not os.environ.get("NO_COLOR") and stream is not None and not stream.closed and stream.isatty()
    render = ConsoleRenderer(colors=colors, sort_keys=False, exception_formatter=plain_traceback)

    def processor(logger: WrappedLogger, method: str, fields: EventDict) -> str:
        trace = str(fields.pop("exception", "")).splitlines()
        shown = {_one_line(name): _one_line(str(value)) for name, value in fields.items()}
        return "\n    ".join([str(render(logger, method, shown)), *map(_one_line, trace)])

    return processor


def _safely(render: Processor) -> Processor:
    """Redact a line that may hold a secret; shorten its texts and lists until it is within bounds."""

    def processor(logger: WrappedLogger, method: str, fields: EventDict) -> Any:
        line = str(render(logger, method, dict(fields)))
        if may_hold_secret(line):
            fields = redacted(fields)
            line = str(render(logger, method, dict(fields)))
        for limit in (8_192, 1_024, MIN_TEXT):
            if len(line) < MAX_LINE:
                break
            kept = list(fields.items())[:limit]
            fields = {name[:limit]: shortened(value, limit) for name, value in kept} | {"truncated": True}
            line = str(render(logger, method, dict(fields)))
        return line

    return processor


def _one_line(text: str) -> str:
    """Return the text with line ends, escape sequences and other unprintable characters as escapes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _type_name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


def _failure_line(record: logging.LogRecord, error: Exception) -> str:
    """Return a line with the message as it was written, without its arguments."""
    head = (timestamp(int(record.created * 1000)), "error", record.name, "log_line_failed")
    about = {"message": redact(text_of(record.msg))[:1_024], "error.type": _type_name(error)}
    return json.dumps(dict(zip(HEAD, head, strict=True)) | about)


# At import, so that a logger used before `configure_logging` does not print to standard output. Without
# structlog's factory, which replaces the logger class of the whole process to find callers, unused here.
structlog.configure(
    processors=[filter_by_level, ProcessorFormatter.wrap_for_formatter],
    wrapper_class=_Logger,
    logger_factory=logging.getLogger,
    context_class=dict,
    cache_logger_on_first_use=True,
)
