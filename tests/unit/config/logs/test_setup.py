"""Log lines: their shape, what they hide, their bounds, and that logging never fails its caller."""

import asyncio
import base64
import enum
import gc
import io
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

import pytest
import structlog
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars
from yarl import URL

from config.logs import redaction, setup
from config.logs.setup import MAX_LINE, configure_logging

Format = Literal["json", "console"]
log = structlog.get_logger("tasks.tests")


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for module, name in ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(redaction, "_forms", ())
    monkeypatch.setattr(redaction, "_exact", frozenset())
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in setup.QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET)


def logs_to(log_format: Format = "json", level: str = "INFO", secrets: tuple[str, ...] = ()) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(log_format=log_format, level=level, secrets=secrets, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().split("\n") if line]


def only(stream: io.StringIO) -> dict[str, Any]:
    [line] = lines(stream)
    return line


def raised(error: Exception) -> Exception:
    """Return the exception with a traceback, as if it had been caught somewhere."""

    def fail() -> None:
        raise error

    try:
        fail()
    except Exception as caught:  # noqa: BLE001 - whatever was handed in
        return caught
    raise AssertionError


class Raises:
    def __repr__(self) -> str:
        raise RuntimeError("hunter2")

    __str__ = __repr__


# --- the shape of a line -----------------------------------------------------------------------------------


def test_a_json_line_has_time_level_logger_event_and_then_the_context() -> None:
    stream = logs_to()
    with bound_contextvars(request_id="r-1", trace_id="t-1"):
        log.info("operation_submitted", operation_id="o-1", node_count=3)

    line = only(stream)
    assert list(line)[:5] == ["timestamp", "level", "logger", "event", "trace_id"]
    assert {**line, "timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "logger": "tasks.tests",
        "event": "operation_submitted",
        "trace_id": "t-1",
        "request_id": "r-1",
        "operation_id": "o-1",
        "node_count": 3,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    logged_at = datetime.fromisoformat(line["timestamp"])
    assert abs((datetime.now(UTC) - logged_at).total_seconds()) < 60


async def test_coroutines_do_not_see_each_others_context() -> None:
    stream = logs_to()

    async def work(name: str) -> None:
        with bound_contextvars(request_id=name):
            await asyncio.sleep(0)
            log.info("work", name=name)

    await asyncio.gather(work("a"), work("b"))

    assert [line["request_id"] for line in lines(stream)] == [line["name"] for line in lines(stream)]


def test_an_exception_gives_its_type_its_message_and_its_traceback() -> None:
    stream = logs_to()
    try:
        try:
            raise raised(KeyError("inner"))
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError:
        log.exception("failed")

    line = only(stream)
    assert (line["level"], line["error.type"], line["error.message"]) == ("error", "ValueError", "outer")
    assert "KeyError: 'inner'" in line["exception"]
    assert line["exception"].endswith("ValueError: outer")


def test_exceptions_are_also_taken_as_values_and_from_the_standard_library() -> None:
    stream = logs_to()
    log.warning("ours", exc_info=json.JSONDecodeError("bad", "doc", 0))
    logging.getLogger("other").error("text", exc_info=raised(OSError("theirs")))

    ours, theirs = lines(stream)
    assert ours["error.type"] == "json.decoder.JSONDecodeError"
    assert (theirs["error.type"], theirs["event"]) == ("OSError", "text")


def test_lines_of_celery_kombu_and_asyncio_look_alike_without_passwords() -> None:
    stream = logs_to()
    url = "redis://user:hunter2@host:6379//"
    logging.getLogger("celery.worker.consumer.connection").info("Connected to %s", url)
    logging.getLogger("kombu").error("Cannot connect to %s: %s.", url, OSError(url))
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: %r", URL(url))

    found = lines(stream)
    assert [line["logger"] for line in found] == ["celery.worker.consumer.connection", "kombu", "asyncio"]
    assert found[0]["event"] == "Connected to redis://user:***@host:6379//"
    assert "hunter2" not in stream.getvalue()
    assert all(list(line)[:4] == ["timestamp", "level", "logger", "event"] for line in found)


def test_noisy_libraries_are_quiet_unless_all_is_wanted() -> None:
    stream = logs_to()
    for name in ("kombu.pidbox", "amqp", "aiohttp.access"):
        logging.getLogger(name).info("noise")
    assert stream.getvalue() == ""
    logs_to(level="ERROR")
    assert not logging.getLogger("kombu").isEnabledFor(logging.WARNING)
    stream = logs_to(level="DEBUG")
    logging.getLogger("aiohttp.access").debug("noise")
    assert only(stream)["event"] == "noise"


def test_calling_again_writes_no_line_twice_and_takes_the_new_level() -> None:
    first = logs_to(level="DEBUG")
    second = logs_to(level="WARNING")
    log.info("dropped")
    log.warning("kept")
    logging.getLogger("other").warning("kept")

    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["kept", "kept"]


def test_handlers_of_others_are_removed_so_that_every_line_is_redacted() -> None:
    other = logging.getLogger("has.a.handler")
    leak = io.StringIO()
    other.addHandler(logging.StreamHandler(leak))
    other.propagate = False
    stream = logs_to(secrets=("hunter2",))
    other.warning("hunter2")

    assert leak.getvalue() == ""
    assert only(stream)["event"] == "***"


def test_a_wrong_level_is_refused() -> None:
    with pytest.raises(ValueError, match="level must be one of"):
        logs_to(level="LOUD")


def test_an_event_below_the_level_does_no_work() -> None:
    stream = logs_to()
    log.debug("unseen", value=Raises())

    assert stream.getvalue() == ""


def test_events_can_still_be_captured_by_tests() -> None:
    with structlog.testing.capture_logs() as captured:
        log.info("operation_planned", operation_id="o")

    assert captured == [{"event": "operation_planned", "operation_id": "o", "log_level": "info"}]


def test_warnings_are_log_lines() -> None:
    stream = logs_to()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old\nthing at redis://:hunter2@h", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)

    line = only(stream)
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "DeprecationWarning: old" in line["event"]
    assert "hunter2" not in line["event"]


def test_uncaught_exceptions_are_log_lines() -> None:
    stream = logs_to(secrets=("hunter2",))
    error = ValueError("hunter2")
    sys.excepthook(ValueError, error, None)

    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail, name="loop")
    thread.start()
    thread.join()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    first, second, third = lines(stream)
    assert first["event"] == second["event"] == "uncaught_exception"
    assert (first["level"], second["thread"], second["error.message"]) == ("critical", "loop", "***")
    assert third["event"] == "interrupted"
    assert "hunter2" not in stream.getvalue()


def test_an_exception_in_a_finalizer_is_a_log_line() -> None:
    stream = logs_to(secrets=("hunter2",))

    class Finalized:
        def __del__(self) -> None:
            raise ValueError("hunter2")

    Finalized()
    gc.collect()

    line = only(stream)
    assert (line["event"], line["error.message"]) == ("unraisable_exception", "***")


# --- whatever is logged ------------------------------------------------------------------------------------


class Colour(enum.StrEnum):
    RED = "red"


def test_whatever_is_logged_is_shown_as_json() -> None:
    stream = logs_to()
    itself: list[Any] = []
    itself.append(itself)
    log.info(
        "all",
        nan=float("nan"), infinite=float("-inf"), data=b"ab\xff", some={2}, colour=Colour.RED,
        when=datetime(2026, 1, 2, tzinfo=UTC), hidden=SecretStr("hunter2"), huge=10**6000,
        itself=itself, pairs={1: "a", None: "b", ("t", 1): "c"}, lone="\ud800", raises=Raises(), kind=int,
        wide=[0] * 50_000, nested={"a": {"signature": ["hunter2"], "ok": None}},
    )  # fmt: skip

    line = only(stream)
    assert (line["nan"], line["infinite"], line["data"], line["some"]) == ("nan", "-inf", "ab\\xff", [2])
    assert (line["colour"], line["when"]) == ("red", "2026-01-02 00:00:00+00:00")
    assert line["raises"] == "<Raises that cannot be shown: RuntimeError>"
    assert line["nested"] == {"a": {"signature": "***", "ok": None}}
    assert "hunter2" not in stream.getvalue()


def test_logging_wrongly_raises_nothing_and_loses_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    stream = logs_to(secrets=("hunter2",))
    logging.getLogger("other").info("number %d hunter2", "hunter2")
    logging.getLogger("other").info("number %s", Raises())
    logging.getLogger("other").info(Raises())
    log.info(None)
    log.info("named", level="high", timestamp=1, logger="me")

    found = lines(stream)
    assert found[0]["event"] == "log_line_failed"
    assert found[0]["message"] == "number %d ***"
    assert len(found) == 5
    assert found[4]["level_"] == "high"
    assert capsys.readouterr().err == ""
    assert "hunter2" not in stream.getvalue()


def test_a_stream_that_is_gone_costs_only_the_line() -> None:
    stream = logs_to()
    stream.close()
    log.info("lost")


def test_a_stream_that_cannot_write_a_character_gets_an_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    configure_logging(log_format="console", level="INFO", secrets=[], stream=stream)
    log.info("né")

    assert b"n\\xe9" in raw.getvalue()


def test_lines_go_to_standard_error_unless_a_stream_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json", level="INFO", secrets=[])
    log.info("here")

    captured = capsys.readouterr()
    assert (json.loads(captured.err)["event"], captured.out) == ("here", "")


FORGERY = "a\n2026-01-01T00:00:00.000Z info forged\r\x1b[2J\u2028\x85\x0b\x7fb"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_value_can_forge_another_line(log_format: Format) -> None:
    stream = logs_to(log_format)
    log.info(FORGERY, value=FORGERY, **{FORGERY: [FORGERY]})
    logging.getLogger(FORGERY).info("%s", FORGERY)

    written = stream.getvalue()
    assert len(written.splitlines()) == 2
    assert all(char == "\n" or char.isprintable() for char in written)


def test_in_the_console_only_a_traceback_has_more_lines_indented() -> None:
    stream = logs_to("console")
    log.error("failed", node_count=3, text="two words", exc_info=raised(ValueError(FORGERY)))

    first, *rest = stream.getvalue().rstrip("\n").split("\n")
    assert re.match(r"\S+Z \[error +\] failed .*node_count=3 .*two words", first)
    assert all(line.startswith("    ") for line in rest)
    assert "Traceback" in rest[0]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_of_people_who_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)

    def written(stream: io.StringIO, log_format: Format = "console") -> str:
        configure_logging(log_format=log_format, level="INFO", secrets=[], stream=stream)
        log.warning("event")
        return stream.getvalue()

    assert "\x1b[" in written(Terminal())
    assert "\x1b[" not in written(io.StringIO())
    assert "\x1b[" not in written(Terminal(), "json")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in written(Terminal())


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "x" * 1_000_000},
        {"text": '"\\é' * 100_000 + " signature=hunter2 " + "y" * 200_000},
        {f"name{number}": "v" * 100 for number in range(5000)},
        {"n" * 200_000: 1},
        {"items": ["😀" * 40 for _ in range(100_000)]},
        {"trace_id": {str(n): "x" * 300 for n in range(2000)}, "error.message": ["y" * 100] * 3000},
        {str(n) * 40: {str(m): ["😀" * 90] * 900 for m in range(9)} for n in range(9)},
    ],
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_line_that_is_too_long_is_cut_and_still_whole(fields: dict[str, Any], log_format: Format) -> None:
    stream = logs_to(log_format)
    log.info("big", request_id="r-1", **fields)

    assert len(stream.getvalue()) <= MAX_LINE
    assert "hunter2" not in stream.getvalue()
    if log_format == "json":
        assert only(stream)["event"] == "big"


def test_threads_do_not_mix_their_lines() -> None:
    stream = logs_to()

    def work() -> None:
        for number in range(100):
            log.info("work", number=number, text="x" * 200)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(lines(stream)) == 400


# --- a secret is nowhere -----------------------------------------------------------------------------------


def log_everywhere(secret: str) -> None:
    """Put the secret wherever a line may take it from: nine lines."""
    other = logging.getLogger("celery.app")
    log.info(f"message {secret} end")  # noqa: G004
    log.info("value", value=secret, within=f"a{secret}b", **{f"key {secret}": 1})
    log.info("nested", value={"a": [{secret: 1, "b": (secret, {secret})}]}, data=secret.encode())
    log.info("encoded", once=quote(secret, safe=""), text=json.dumps(secret))
    log.info("base64", inside=base64.b64encode(f"u:{secret}".encode()))
    log.info("url", value=URL.build(scheme="redis", user="u", password=secret, host="h"))
    log.info("error", error=ValueError(secret), exc_info=raised(ValueError(secret)))
    other.info("text %s %r", secret, {secret: [secret]})
    with bound_contextvars(bound=secret):
        log.info("bound")


# What may be a secret: more than blanks, more than the mask, and not what every line is made of.
secrets = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), min_size=8, max_size=24),
    st.from_regex(r"[A-Za-z0-9+/=%&\"'\\ ]{8,40}", fullmatch=True),
).filter(lambda secret: len(secret.strip("* ")) >= 8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(secrets, st.sampled_from(["json", "console"]))
def test_a_registered_secret_is_in_no_line_wherever_it_was_put(secret: str, log_format: Format) -> None:
    assume(secret not in "error.type error.message exception")
    redaction._forms, redaction._exact = (), frozenset()
    stream = logs_to(log_format, secrets=(secret,))
    log_everywhere(secret)

    written = stream.getvalue()
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")}
    assert [form for form in forms if form in written] == []
    assert sum(not line.startswith("    ") for line in written.splitlines()) == 9
