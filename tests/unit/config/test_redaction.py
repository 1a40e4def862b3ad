from __future__ import annotations

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

from config import redaction
from config.known_secrets import KnownSecrets, known_secrets
from config.redaction import may_hold_secret, redact, register_secrets


@pytest.fixture(autouse=True)
def _nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", KnownSecrets())


def hides(text: str) -> bool:
    return "hunter2" not in redact(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /?zone=a&signature=ab%2Bc%3D&x=1", "GET /?zone=a&signature=***&x=1"),
        (
            "u=http%3A%2F%2Fx%3Fsignature%3Dab%252Bc%26zone%3Dq",
            "u=http%3A%2F%2Fx%3Fsignature%3D***%26zone%3Dq",
        ),
        ("x%253Fsignature%253Dabc%2526zone%253Dq", "x%253Fsignature%253D***%2526zone%253Dq"),
        ('{"signature": "a\\"bc", "x": 1}', '{"signature": "***", "x": 1}'),
        ("{'signature': 'abc', 'z': 1}", "{'signature': '***', 'z': 1}"),
        ("signature='abc', zone='z'", "signature='***', zone='z'"),
        (r"{\"signature\": \"abc\\\"d\", \"x\": 1}", r"{\"signature\": \"***\", \"x\": 1}"),
        (
            "signature_version=1&signature_method=HmacSHA256",
            "signature_version=1&signature_method=HmacSHA256",
        ),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://user:p@s:s/w?o#rd@host:6379/0 ok", "redis://user:***@host:6379/0 ok"),
        ("rediss://user:p%40ss@host/0", "rediss://user:***@host/0"),
        ("redis://a:pw@h1;redis://:pw@h2/0", "redis://a:***@h1;redis://:***@h2/0"),
        ("URL('redis://:pw@h/0')", "URL('redis://:***@h/0')"),
        ('{"url":"redis://:pw@h","mail":"a@b"}', '{"url":"redis://:***@h","mail":"a@b"}'),
        ("to=redis%3A%2F%2Fu%3Apw%40h%3A1", "to=redis%3A%2F%2Fu%3A***%40h%3A1"),
        ("to=redis%253A%252F%252Fu%253Apw%2540h", "to=redis%253A%252F%252Fu%253A***%2540h"),
        (r"redis:\/\/u:pw@h", r"redis:\/\/u:***@h"),
        ("Authorization: Bearer abc def\nHost: h", "Authorization: ***\nHost: h"),
        ("{'Authorization': 'Basic abc=='}", "{'Authorization': '***'}"),
        ("((b'Authorization', b'Basic x'), 1)", "((b'Authorization', b'***'), 1)"),
        ("headers['Authorization'] = 'x'", "headers['Authorization'] = '***'"),
        ("sent Bearer abcdefghijklmnopqrst to h", "sent Bearer *** to h"),
        ("AUTH pw", "AUTH ***"),
        ("AUTH default pw", "AUTH *** ***"),
        ("('AUTH', 'default', 'pw')", "('AUTH', '***', '***')"),
        ("*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n", "*2\r\n$4\r\nAUTH\r\n$2\r\n***\r\n"),
        ("NOAUTH Authentication required.", "NOAUTH Authentication required."),
        ("CONFIG SET requirepass pw", "CONFIG SET requirepass ***"),
        ("SCALEOUT_SECRET_ACCESS_KEY=abc", "SCALEOUT_SECRET_ACCESS_KEY=***"),
        ("SCALEOUT_SECRET_ACCESS_KEY_FILE=/run/key", "SCALEOUT_SECRET_ACCESS_KEY_FILE=/run/key"),
        ("secretAccessKey: abc, next", "secretAccessKey: ***, next"),
        ("secret_access_key=SecretStr('**********') a=1", "secret_access_key=*** a=1"),
        ("password={'a': ('b)', 2)}, z=1", "password=***, z=1"),
        ("redis-cli --password pw --tls", "redis-cli --password *** --tls"),
        ("access_key_id=AKID", "access_key_id=AKID"),
        ("celery@worker-1 ready.", "celery@worker-1 ready."),
    ],
)
def test_what_stands_where_secrets_stand_is_masked_and_the_rest_is_kept(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_a_quoted_value_without_an_end_is_hidden_to_the_end() -> None:
    assert redact('"signature": "abc, and more') == '"signature": "***'


def test_exceptions_of_aiohttp_show_no_signature() -> None:
    url = URL("https://user:hunter2@api/iaas?zone=z&signature=hunter2%3D")
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": "hunter2", "Cookie": "a=hunter2"}))
    error = ClientResponseError(RequestInfo(url, "GET", headers, url), (), status=500, headers=headers)
    assert "hunter2" in repr(error)
    for text in (
        str(error),
        repr(error),
        repr(error.request_info),
        "".join(traceback.format_exception(error)),
    ):
        assert hides(text)


@pytest.mark.parametrize(
    "secret", ["hunter2/+= \"'%\\x", "pâss wörd-é😀", "line-one\nline-two", "a+b c&d=e", "plain42"]
)
def test_a_registered_secret_is_found_in_every_usual_encoding(secret: str) -> None:
    register_secrets([secret])
    once = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(secret.encode())[2:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        quote(secret, safe="").lower() if secret.isascii() and secret.islower() else secret,
        "".join(f"%{byte:02x}" for byte in secret.encode()),
        base64.b64encode(secret.encode()).decode(),
        base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
        str(URL.build(scheme="redis", host="h", password=secret).raw_password),
    }
    twice = {
        form for text in once for form in (quote(text, safe=""), json.dumps(text)[1:-1], repr(text)[1:-1])
    }
    for form in once | twice:
        text = redact(f"before>{form}<after")
        assert text.startswith("before>***"), form
        assert text.endswith("<after"), form
        assert len(text) <= len("before>***==<after") + 8, (form, text)


def test_a_secret_inside_a_longer_base64_text_is_found() -> None:
    register_secrets(["hunter2secret"])
    for before in ("", "u:", "me:", "you:"):
        encoded = base64.b64encode(f"{before}hunter2secret".encode()).decode()
        hidden = redact(f"x {encoded} y")
        assert "***" in hidden
        assert b"hunter2" not in base64.b64decode(hidden.split()[1].replace("***", "") + "==="[:3])


def test_margins_of_exception_groups_do_not_hide_a_secret_of_several_lines() -> None:
    register_secrets(["first\nsecond\u2028third"])
    group = ExceptionGroup("all", [ExceptionGroup("some", [ValueError("first\nsecond\u2028third")])])
    text = redact("".join(traceback.format_exception(group)))
    assert "second" not in text.replace('"first\\nsecond', "")
    assert "third" not in text


def test_each_long_line_of_a_key_of_several_lines_is_a_secret() -> None:
    register_secrets(["-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"])
    assert redact("x hkiG9w0BAQEFAASC y") == "x *** y"


def test_of_a_registered_url_only_the_password_is_secret() -> None:
    register_secrets(["redis://user:hun%40ter2@host:6379/0", "redis://elsewhere:6379/0"])
    assert redact("hun@ter2 hun%40ter2 user host redis://elsewhere:6379/0") == (
        "*** *** user host redis://elsewhere:6379/0"
    )


def test_a_very_short_secret_is_masked_only_where_it_is_the_whole_text() -> None:
    register_secrets(["abc", "", " ", "***"])
    assert redact("abc") == "***"
    assert redact("abcdef abc") == "abcdef abc"
    assert redact("***") == "***"


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
    assert redact("secret-number-19") == "***"


def test_a_repr_of_the_known_secrets_is_never_needed_and_shows_no_pattern() -> None:
    assert "loose" not in repr(known_secrets(["hunter2"]))


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "\\",
        "%25",
        "%5C",
        "signature=",
        "signature ",
        "secret",
        "//",
        "//:a",
        "x://:a@b;",
        'signature="',
        'signature=\\"',
        "AUTH ",
        "AUTH $6",
        '\\"',
        "password=(",
        "--password ",
        "%2F%2F",
        "token",
        "s3cr\\",
        "secret'='",
    ],
)
def test_time_grows_with_the_length_of_the_text_and_no_faster(unit: str) -> None:
    register_secrets(['s3cr"et\\pass', "\\\\abcdefgh", "p%40ssword", "line1\nline2abc"])

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
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1),
    st.sampled_from(["redis://:{}@h:1/0", "rediss://user:{}@h", "x redis://u:{}@h y", "<redis://u:{}@h>"]),
)
def test_no_password_in_a_url_is_shown_whatever_signs_it_has(password: str, url: str) -> None:
    shown = redact(url.format(password))
    assert shown.replace(url.format("***"), "") == "" or len(shown) <= len(url.format("***"))


@given(st.text(min_size=1), st.sampled_from(["signature", "secret_access_key", "password", "Authorization"]))
def test_no_value_of_a_secret_name_is_shown_in_json_or_repr(value: str, name: str) -> None:
    assert json.loads(redact(json.dumps({name: value, "z": 1}))) == {name: "***", "z": 1}
    assert redact(repr({name: value, "z": 1})) in (
        f"{{'{name}': '***', 'z': 1}}",
        f"{{'{name}': \"***\", 'z': 1}}",
    )
    nested = json.loads(redact(json.dumps({"body": json.dumps({name: value})})))
    assert "***" in nested["body"]


@given(st.text(min_size=6).filter(lambda text: text.strip() and len(text.strip("* \n\t\r")) >= 6))
def test_the_quick_look_never_overlooks_what_redaction_would_hide_in_json(secret: str) -> None:
    redaction._known = known_secrets([secret])
    for text in (secret, f"a {secret} b", repr(secret), quote(secret)):
        assert may_hold_secret(json.dumps({"event": text})) or redact(text) == text
