"""The URL of sentinels, as it is read and as Celery gets it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.sentinels import parse_sentinels


def test_all_parts_of_the_url_are_read() -> None:
    found = parse_sentinels(
        "sentinel://user:p%40ss@h1:1001,[::1]:1002,h3/5?name=main&sentinel_username=s&sentinel_password=q%26"
    )

    assert found.hosts == (("h1", 1001), ("::1", 1002), ("h3", 26379))
    assert (found.name, found.db) == ("main", 5)
    assert (found.username, found.password) == ("user", "p@ss")
    assert (found.sentinel_username, found.sentinel_password) == ("s", "q&")
    assert found.tls is None
    assert found.celery_url == ";".join(
        f"sentinel://user:p%40ss@{host}/5" for host in ("h1:1001", "[::1]:1002", "h3:26379")
    )


def test_passwords_are_not_in_its_text() -> None:
    found = parse_sentinels("sentinel://:hunter2@h1/0?name=main&sentinel_password=hunter2")

    assert "hunter2" not in repr(found)


def test_tls_is_for_sentinels_and_server_alike() -> None:
    found = parse_sentinels("sentinels://h1/0?name=main&ssl_ca_certs=%2Fca.pem")

    assert found.tls == {"ssl_ca_certs": "/ca.pem"}
    assert (found.sentinel_options["ssl"], found.sentinel_options["ssl_ca_certs"]) == (True, "/ca.pem")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sentinel://h1,h2/0", "?name=main"),
        ("sentinel://h1/0?name=", "?name=main"),
        ("sentinel:///0?name=main", "must list sentinels"),
        ("sentinel://h1:x/0?name=main", "must list sentinels"),
        ("sentinel://h1,,h2/0?name=main", "must list sentinels"),
        ("sentinel://h1:99999/0?name=main", "must list sentinels"),
        ("sentinel://h1/one?name=main", "a number as its database"),
        ("sentinel://h1/0?name=main&socket_timeout=5", "no options but name"),
    ],
)
def test_what_is_wrong_is_said(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        parse_sentinels(url)


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(ValueError, match="must") as caught:
        parse_sentinels("sentinel://h1:x/one?label=main")

    assert str(caught.value).count("must") == 4


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_sentinels(f"sentinel://{text}")
    except ValueError:
        return
    assert found.hosts
    assert found.name
