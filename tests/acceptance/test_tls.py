"""Redis and the API behind TLS, with right and wrong certificates; and the API through a proxy."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.test_command_line import scaleout
from tests.support.processes import Simulator, environment, worker
from tests.support.tls import Certificates, certificates, proxy, tls_before

pytestmark = pytest.mark.timeout(120)
REQUEST = ("submit", "--cluster", "ehpc-a", "--zone", "jn1a", "--nodes", "2", "--wait", "--timeout", "40")


def settings(found: Certificates, **more: Any) -> dict[str, Any]:
    return {
        "REDIS_CA_FILE": found.ca,
        "REDIS_CERT_FILE": found.client,
        "REDIS_KEY_FILE": found.client_key,
        **more,
    }


def port_of(url: str) -> int:
    return int(urlsplit(url).port or 0)


def test_all_of_it_works_where_redis_and_the_api_have_private_certificates(
    redis_url: str, provider: Simulator, tmp_path: Path
) -> None:
    of_redis, of_api = tmp_path / "redis", tmp_path / "api"
    of_redis.mkdir()
    of_api.mkdir()
    redis_side, api_side = certificates(of_redis, ask_clients=True), certificates(of_api)
    with (
        tls_before(port_of(redis_url), redis_side.server) as redis_port,
        tls_before(port_of(provider.api_url), api_side.server) as api_port,
    ):
        url, api = f"rediss://localhost:{redis_port}/0", f"https://localhost:{api_port}/api"
        env = environment(url, api, **settings(redis_side, API_CA_FILE=api_side.ca))
        with worker(env, tmp_path / "worker.log"):
            done = scaleout(env, *REQUEST)
            seen = scaleout(env, "doctor", "--zone", "jn1a", "--json").json()

    assert done.code == 0, done.err
    assert provider.nodes("ehpc-a") == 2
    assert {one["check"]: one["status"] for one in seen}["credentials"] == "ok"


@pytest.mark.parametrize("wrong", ["authority", "name", "no client certificate"])
def test_a_server_that_is_not_what_it_says_is_not_used(redis_url: str, tmp_path: Path, wrong: str) -> None:
    found = certificates(
        tmp_path,
        name="elsewhere.test" if wrong == "name" else "localhost",
        ask_clients=wrong.startswith("no"),
    )
    given = settings(found)
    if wrong == "authority":
        given["REDIS_CA_FILE"] = found.other_ca
    if wrong.startswith("no"):
        given = {"REDIS_CA_FILE": found.ca}
    with tls_before(port_of(redis_url), found.server) as port:
        env = environment(f"rediss://localhost:{port}/0", "http://127.0.0.1:1/api", **given)
        done = scaleout(env, "list")

    assert done.code == 5, done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_an_api_that_is_not_what_it_says_gets_no_call(
    redis_url: str, provider: Simulator, tmp_path: Path, wrong: str
) -> None:
    found = certificates(tmp_path, name="elsewhere.test" if wrong == "name" else "localhost")
    with tls_before(port_of(provider.api_url), found.server) as port:
        ca = found.other_ca if wrong == "authority" else found.ca
        env = environment(redis_url, f"https://localhost:{port}/api", API_CA_FILE=ca)
        done = scaleout(env, "doctor", "--zone", "jn1a", "--json")

    (finding,) = [one for one in done.json() if one["check"] == "api"]
    assert (finding["status"], finding["unreachable"]) == ("error", True)
    assert provider.get("truth")["calls"]["by_action"] == {}


def test_calls_go_by_the_proxy_and_by_none_of_the_environment(
    redis_url: str, provider: Simulator, tmp_path: Path
) -> None:
    found, asked = certificates(tmp_path), list[str]()
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
    with tls_before(port_of(provider.api_url), found.server) as port, proxy(asked) as by:
        env = environment(redis_url, f"https://localhost:{port}/api", API_CA_FILE=found.ca)
        direct = scaleout({**env, **nowhere}, "doctor", "--zone", "jn1a", "--json").json()
        assert asked == []
        tunnelled = scaleout({**env, "SCALEOUT_API_PROXY": by}, "doctor", "--zone", "jn1a", "--json").json()

    for said in (direct, tunnelled):
        assert {one["check"]: one["status"] for one in said}["credentials"] == "ok"
    assert asked == [f"CONNECT localhost:{port}"]


def test_a_plain_api_elsewhere_is_refused_and_open_secrets_are_warned_of(
    redis_url: str, tmp_path: Path
) -> None:
    refused = scaleout(environment(redis_url, "http://api.example/api"), "doctor", "--json")
    key = tmp_path / "key"
    key.write_text("QYACCESSKEYIDEXAMPLE")
    key.chmod(0o644)
    env = environment(redis_url, "http://127.0.0.1:1/api", ACCESS_KEY_ID_FILE=key)
    del env["SCALEOUT_ACCESS_KEY_ID"]
    warned = scaleout(env, "doctor", "--json").json()
    key.chmod(0o600)
    content = scaleout(env, "doctor", "--json").json()

    (said,) = [one for one in refused.json() if one["check"] == "settings"]
    assert "SCALEOUT_API_ALLOW_HTTP" in said["detail"]
    assert [one["status"] for one in warned if one["check"] == "secrets"] == ["warning"]
    assert [one for one in content if one["check"] == "secrets"] == []
