"""Secrets in text: registered ones in their usual encodings, and others by where they stand."""

import base64
import json
import threading
import time
import traceback
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import ClientResponseError, RequestInfo
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from config.logs import redaction
from config.logs.redaction import is_secret_name, redact, register_secrets


@pytest.fixture(autouse=True)
def _nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_forms", ())
    monkeypatch.setattr(redaction, "_exact", frozenset())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /?zone=a&signature=ab%2Bc%3D&x=1", "GET /?zone=a&signature=***&x=1"),
        ('{"signature": "abc", "x": 1}', '{"signature": "***", "x": 1}'),
        ("{'signature': 'abc', 'z': 1}", "{'signature': '***', 'z': 1}"),
        ("signature='abc', zone='z'", "signature='***', zone='z'"),
        (r"{\"signature\": \"abc\", \"x\": 1}", r"{\"signature\": \"***\", \"x\": 1}"),
        (
            "signature_version=1&signature_method=HmacSHA256",
            "signature_version=1&signature_method=HmacSHA256",
        ),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://user:p@s:s/w?o#rd@host:6379/0 ok", "redis://user:***@host:6379/0 ok"),
        ("rediss://user:p%40ss@host/0", "rediss://user:***@host/0"),
        ("URL('redis://:pw@h/0')", "URL('redis://:***@h/0')"),
        ('{"url":"redis://:pw@h","mail":"a@b"}', '{"url":"redis://:***@h","mail":"a@b"}'),
        (r"redis:\/\/u:pw@h", r"redis:\/\/u:***@h"),
        ("Authorization: Bearer abcdef\nHost: h", "Authorization: Bearer ***\nHost: h"),
        ("{'Authorization': 'Basic abc=='}", "{'Authorization': '***'}"),
        ("headers['Authorization'] = 'x'", "headers['Authorization'] = '***'"),
        ("SCALEOUT_SECRET_ACCESS_KEY=abc", "SCALEOUT_SECRET_ACCESS_KEY=***"),
        ("SCALEOUT_SECRET_ACCESS_KEY_FILE=/run/key", "SCALEOUT_SECRET_ACCESS_KEY_FILE=/run/key"),
        ("secretAccessKey: abc, next", "secretAccessKey: ***, next"),
        ("access_key_id=AKID", "access_key_id=AKID"),
        ("celery@worker-1 ready.", "celery@worker-1 ready."),
        ("NOAUTH Authentication required.", "NOAUTH Authentication required."),
    ],
)
def test_what_stands_where_secrets_stand_is_masked_and_the_rest_is_kept(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("signature", True),
        ("SCALEOUT_SECRET_ACCESS_KEY", True),
        ("redis_password", True),
        ("X-Auth-Token", True),
        ("Set-Cookie", True),
        ("secret_access_key_file", False),
        ("signature_ttl_s", False),
        ("access_key_id", False),
        ("cluster_id", False),
    ],
)
def test_a_name_shows_whether_its_value_is_a_secret(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_exceptions_of_aiohttp_show_no_signature() -> None:
    url = URL("https://user:hunter2@api/iaas?zone=z&signature=hunter2%3D")
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": "hunter2", "Cookie": "a=hunter2"}))
    error = ClientResponseError(RequestInfo(url, "GET", headers, url), (), status=500, headers=headers)

    assert "hunter2" in repr(error)
    shown = (str(error), repr(error), repr(error.request_info), "".join(traceback.format_exception(error)))
    assert [text for text in shown if "hunter2" in redact(text)] == []


@pytest.mark.parametrize(
    "secret", ["hunter2/+= \"'%\\x", "pâss wörd-é😀", "one\nline-two", "a+b c&d=e", "plain42"]
)
def test_a_registered_secret_is_found_in_its_usual_encodings(secret: str) -> None:
    register_secrets([secret])
    forms = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        str(URL.build(scheme="redis", host="h", password=secret).raw_password),
    }

    for form in forms:
        assert redact(f"before>{form}<after") == "before>***<after"


def test_a_registered_secret_is_found_in_base64_whatever_stands_before_it() -> None:
    register_secrets(["hunter2secret"])
    for before in ("", "u:", "me:", "you:"):
        encoded = base64.b64encode(f"{before}hunter2secret".encode()).decode()
        left = redact(f"x {encoded} y").removeprefix("x ").removesuffix(" y")
        assert "***" in left
        # No more than what stood before it, and the bits that it shares with its neighbours.
        assert len(left.replace("***", "")) <= 2 * len(before) + 4


def test_of_a_registered_url_only_the_password_is_secret() -> None:
    register_secrets(["redis://user:hun%40ter2@host:6379/0", "redis://elsewhere:6379/0"])

    assert redact("hun@ter2 hun%40ter2 user host redis://elsewhere:6379/0") == (
        "*** *** user host redis://elsewhere:6379/0"
    )


def test_a_very_short_secret_is_masked_only_as_the_whole_text() -> None:
    register_secrets(["abc", "", " ", "***"])

    assert (redact("abc"), redact("abcdef abc"), redact("***")) == ("***", "abcdef abc", "***")


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    register_secrets(["abcd", "abcd%zz!"])

    assert redact("x abcd%zz! abcd%25zz%21 abcd") == "x *** *** ***"


def test_registering_again_keeps_what_was_registered() -> None:
    register_secrets(["first-secret"])
    register_secrets(["second-secret"])

    assert redact("first-secret second-secret") == "*** ***"


def test_registering_while_others_redact_is_safe() -> None:
    register_secrets(["secret-number-0"])
    leaks: list[str] = []

    def read() -> None:
        leaks.extend(text for _ in range(300) if "number" in (text := redact("x secret-number-0")))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(1, 20):
        register_secrets([f"secret-number-{number}"])
    for reader in readers:
        reader.join()

    assert leaks == []


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "\\",
        "%25",
        "signature=",
        "signature ",
        "//",
        "://:a",
        "x://:a@b;",
        'signature="',
        'token=\\"',
        "key: '",
    ],
)
def test_time_grows_with_the_length_of_the_text_and_no_faster(unit: str) -> None:
    register_secrets(['s3cr"et\\pass', "p%40ssword"])

    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        start = time.process_time()
        redact(text)
        return time.process_time() - start

    # Quadratic would be 64 times as long; the constant covers what a busy machine adds.
    assert seconds(80_000) < 16 * seconds(10_000) + 0.25


@given(st.text())
def test_redacting_anything_ends_and_redacting_it_again_changes_nothing(text: str) -> None:
    once = redact(text)

    assert redact(once) == once


@given(
    st.text(
        alphabet=st.characters(exclude_categories=["Cs", "Z", "Cc"], exclude_characters="\"'<>"), min_size=1
    ),
    st.sampled_from(["redis://:{}@h:1/0", "rediss://user:{}@h", "x redis://u:{}@h y"]),
)
def test_no_password_in_a_url_is_shown(password: str, url: str) -> None:
    shown = redact(url.format(password))

    assert shown.replace(url.format("***"), "") == "" or len(shown) <= len(url.format("***"))


@given(
    st.text(alphabet=st.characters(exclude_characters="\"'\\"), min_size=1),
    st.sampled_from(["signature", "secret_access_key", "password", "Authorization"]),
)
def test_no_value_of_a_secret_name_is_shown_in_json(value: str, name: str) -> None:
    shown = json.loads(redact(json.dumps({name: value, "z": 1}, ensure_ascii=False)))

    assert shown[name].removeprefix("Bearer ").removeprefix("Basic ") in ("***", "") or value.isspace()
