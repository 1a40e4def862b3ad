"""Who a browser is known as, and what no other site can make it send."""

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tests.support.gateway import Answer, Gateway, gateway
from tests.support.processes import environment
from workers.gateway.clients import new_token, sha256_of

pytestmark = pytest.mark.timeout(60)
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    operator, table = new_token("ann", "operate")
    reader, other = new_token("bob", "read")
    (tmp_path / "tokens.toml").write_text(table + other)
    return {"ann": operator, "bob": reader}


@pytest.fixture
def guarded(redis_url: str, tokens: dict[str, str], tmp_path: Path) -> Iterator[Gateway]:
    assert tokens
    env = environment(redis_url, "http://127.0.0.1:1/api")
    with gateway(env, tmp_path / "gateway.log", TOKENS_FILE=tmp_path / "tokens.toml") as started:
        yield started


def sign_in(guarded: Gateway, token: str, **headers: str) -> Answer:
    return guarded.call("POST", "/sign-in", body=f"token={token}".encode(), Content_Type=FORM, **headers)


def cookie_of(answer: Answer) -> str:
    assert answer.status == 303, answer.body
    return answer.headers["Set-Cookie"].partition(";")[0]


def test_a_cookie_is_known_by_any_gateway_and_has_its_roles(
    guarded: Gateway, tokens: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    signed = sign_in(guarded, tokens["bob"])
    cookie = cookie_of(signed)
    env = environment(redis_url, "http://127.0.0.1:1/api")
    with gateway(env, tmp_path / "second.log", TOKENS_FILE=tmp_path / "tokens.toml") as second:
        seen = second.get("/v1/quota", Cookie=cookie)

    assert seen.status == 200
    assert guarded.call("PUT", "/v1/pauses/account", {}, Cookie=cookie, X_Scaleout="test").status == 403
    for word in ("HttpOnly", "SameSite=Strict", "Max-Age=43200", "Path=/"):
        assert word in signed.headers["Set-Cookie"]
    assert "Secure" not in signed.headers["Set-Cookie"]
    assert "Secure" in sign_in(guarded, tokens["bob"], X_Forwarded_Proto="https").headers["Set-Cookie"]
    assert tokens["bob"] not in signed.headers["Set-Cookie"]


def test_a_cookie_that_was_not_given_is_none(
    guarded: Gateway, tokens: dict[str, str], server: redis.Redis
) -> None:
    name, value = cookie_of(sign_in(guarded, tokens["bob"])).split("=", 1)
    client, until, proof = value.split("~")
    forged = [
        f"ann~{until}~{proof}",
        f"{client}~{int(until) + 1}~{proof}",
        f"{client}~{until}~{'0' * 64}",
        f"{client}~{until}",
        "",
        "~~",
        "ann",
        f"{client}~{until}~{hmac.new(b'', b'', hashlib.sha256).hexdigest()}",
    ]
    answers = [guarded.get("/v1/quota", Cookie=f"{name}={one}").status for one in forged]

    assert answers == [401] * len(forged)
    assert guarded.get("/", Cookie=f"{name}={forged[0]}").status == 303


def test_a_cookie_is_over_with_its_time_and_with_its_token(
    guarded: Gateway, tokens: dict[str, str], server: redis.Redis
) -> None:
    cookie_of(sign_in(guarded, tokens["ann"]))
    secret = str(server.get("scaleout:gateway-secret")).encode()

    def made(until: int, token: str) -> int:
        said = f"ann {until} {sha256_of(token)}".encode()
        proof = hmac.new(secret, said, hashlib.sha256).hexdigest()
        return guarded.get("/v1/quota", Cookie=f"scaleout_session=ann~{until}~{proof}").status

    now = int(server.time()[0])
    assert made(now + 60, tokens["ann"]) == 200
    assert made(now - 1, tokens["ann"]) == 401
    assert made(now + 60, "the token before") == 401


def test_another_site_cannot_use_what_the_browser_has(guarded: Gateway, tokens: dict[str, str]) -> None:
    cookie = cookie_of(sign_in(guarded, tokens["ann"]))
    here = f"http://{urlsplit(guarded.url).netloc}"
    path = "/v1/pauses/account"

    assert guarded.call("PUT", path, {}, Cookie=cookie, Origin="http://evil.example").status == 403
    assert guarded.call("DELETE", path, Cookie=cookie).status == 415
    assert guarded.call("DELETE", path, Cookie=cookie, Origin=here, X_Scaleout="page").status == 200
    foreign: Any
    for foreign in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        assert sign_in(guarded, tokens["ann"], **foreign).status == 403
        assert guarded.call("POST", "/sign-out", Cookie=cookie, **foreign).status == 403


def test_signing_in_refuses_what_is_no_form_of_it(guarded: Gateway) -> None:
    answers = [
        guarded.call("POST", "/sign-in", {"token": "x"}).status,
        guarded.call("POST", "/sign-in", body=b"token=" + b"x" * 5_000, Content_Type=FORM).status,
        guarded.call("POST", "/sign-in", body=b"\xff\xfe", Content_Type=FORM).status,
        guarded.call("POST", "/sign-in", body=b"a=1&" * 50, Content_Type=FORM).status,
        guarded.call("POST", "/sign-in", body=b"", Content_Type=FORM).status,
    ]

    assert answers == [415, 413, 401, 400, 401]
    assert guarded.process.events("request_failed") == []


def test_metrics_need_a_token_from_elsewhere(guarded: Gateway, tokens: dict[str, str]) -> None:
    assert guarded.get("/metrics").status == 200
    for header in ("Forwarded", "X_Forwarded_For", "X_Real_IP"):
        assert guarded.get("/metrics", **{header: "203.0.113.9"}).status == 401
    assert guarded.as_client("nobody").get("/metrics").status == 401
    assert guarded.as_client(tokens["bob"]).get("/metrics", X_Forwarded_For="203.0.113.9").status == 200
