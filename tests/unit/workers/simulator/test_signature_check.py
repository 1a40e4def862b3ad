"""The provider's side of the signature: the vendor's sample is accepted, and nothing else."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from workers.simulator.options import SimulatorOptions
from workers.simulator.signature_check import Refused, check_signature

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "tasks/ehpc/signature_vectors.json").read_text(encoding="utf-8")
)
EXAMPLE = VECTORS[1]


@dataclass(frozen=True)
class Call:
    """What arrives at the provider."""

    method: str
    path: str
    query: str
    body: bytes
    signed_at: float
    options: SimulatorOptions

    def check(self, seconds_later: float = 0) -> None:
        now = self.signed_at + seconds_later
        check_signature(self.options, self.method, self.path, self.query, self.body, now)

    def refusal(self, seconds_later: float = 0) -> Refused:
        with pytest.raises(Refused) as caught:
            self.check(seconds_later)
        return caught.value


def seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def call_of(vector: dict[str, Any]) -> Call:
    """The call as the vendor's sample would send it: to the path without a slash at its end."""
    params = vector["params"]
    assert isinstance(params, dict)
    return Call(
        method=str(vector["method"]),
        path=str(vector["signed_uri"]).rstrip("/"),
        query=str(vector["query"]),
        body=str(vector["body"]).encode(),
        signed_at=seconds(params["timestamp"]),
        options=SimulatorOptions(),
    )


def sign(call: Call, query: str, path: str | None = None) -> Call:
    """The call with `query` and a right signature of it, made here by the vendor's page."""
    digest = hashlib.md5(call.body).hexdigest()
    in_order = "&".join(sorted(query.split("&")))
    text = f"{call.method}\n{path or call.path + '/'}\n{in_order}\n{digest}"
    made = hmac.new(call.options.secret_access_key.encode(), text.encode(), hashlib.sha256).digest()
    once = quote(base64.b64encode(made).decode(), safe="")
    twice = quote(once, safe="") if call.options.signature_encoded_twice else once
    return replace(call, query=f"{query}&signature={twice}")


@pytest.fixture
def call() -> Call:
    return call_of(EXAMPLE)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_what_the_vendors_sample_sends_is_accepted(vector: dict[str, Any]) -> None:
    call_of(vector).check()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_changed_method_path_or_body_is_another_signature(vector: dict[str, Any]) -> None:
    call = call_of(vector)
    other = "GET" if call.method == "POST" else "POST"

    assert replace(call, method=other).refusal().ret_code == 1200
    assert replace(call, path=call.path + "s").refusal().ret_code == 1200
    assert replace(call, path=call.path.upper()).refusal().ret_code == 1200
    assert replace(call, body=call.body + b" ").refusal().ret_code == 1200


@pytest.mark.parametrize("position", range(len(EXAMPLE["body"])))
def test_every_single_byte_of_the_body_is_signed(call: Call, position: int) -> None:
    changed = bytearray(call.body)
    changed[position] ^= 1

    assert replace(call, body=bytes(changed)).refusal().ret_code == 1200


@pytest.mark.parametrize(
    ("vector", "name"), [(vector, name) for vector in VECTORS for name in vector["params"] if name != "zone"]
)
def test_every_changed_parameter_is_another_signature(vector: dict[str, Any], name: str) -> None:
    call = call_of(vector)
    value = quote(vector["params"][name], safe="")
    changed = call.query.replace(f"{name}={value}", f"{name}={value}0")
    assert changed != call.query

    assert replace(call, query=changed).refusal().ret_code == 1200


def test_another_zone_version_or_method_of_signing_is_another_signature(call: Call) -> None:
    for before, after in [
        ("zone=jn1a", "zone=jn1b"),
        ("&version=1", "&version=2"),
        ("signature_version=1", "signature_version=2"),
        ("HmacSHA256", "HmacSHA1"),
    ]:
        changed = call.query.replace(before, after)
        assert changed != call.query
        assert replace(call, query=changed).refusal().ret_code == 1200


def test_a_parameter_more_or_less_is_another_signature(call: Call) -> None:
    listing = call_of(VECTORS[2])

    assert replace(call, query=call.query + "&limit=100").refusal().ret_code == 1200
    assert replace(listing, query=listing.query.replace("&limit=100", "")).refusal().ret_code == 1200


def test_the_order_of_the_parameters_does_not_matter(call: Call) -> None:
    replace(call, query="&".join(reversed(call.query.split("&")))).check()


@pytest.mark.parametrize(
    "name", ["zone", "access_key_id", "version", "signature_method", "signature_version", "timestamp"]
)
def test_a_missing_common_parameter_is_malformed_and_named(call: Call, name: str) -> None:
    rest = "&".join(pair for pair in call.query.split("&") if not pair.startswith(f"{name}="))

    refusal = replace(call, query=rest).refusal()

    assert (refusal.ret_code, name in refusal.message) == (1100, True)
    empty = "&".join(f"{name}=" if p.startswith(f"{name}=") else p for p in call.query.split("&"))
    assert replace(call, query=empty).refusal().ret_code == 1100


def test_a_call_without_any_query_is_malformed(call: Call) -> None:
    assert replace(call, query="").refusal().ret_code == 1100


@pytest.mark.parametrize("signature", ["", "%253D", "%C3%A9", "W68niby0", "%25E4%25BD%25A0"])
def test_a_missing_or_invented_signature_is_refused(call: Call, signature: str) -> None:
    unsigned = call.query.partition("&signature=")[0]

    assert replace(call, query=f"{unsigned}&signature={signature}").refusal().ret_code == 1200
    assert replace(call, query=unsigned).refusal().ret_code == 1200


def test_another_key_id_and_another_secret_key_are_refused(call: Call) -> None:
    for wrong in (SimulatorOptions(access_key_id="OTHER"), SimulatorOptions(secret_access_key="OTHER")):
        assert replace(call, options=wrong).refusal().ret_code == 1200
    right = SimulatorOptions(access_key_id="OTHER", secret_access_key="OTHER-SECRET")
    query = call.query.partition("&signature=")[0].replace(EXAMPLE["access_key_id"], "OTHER")
    sign(replace(call, options=right), query).check()


@pytest.mark.parametrize("seconds", [-60, -1, 0, 1, 59, 60])
def test_a_signature_is_accepted_for_its_lifetime_on_either_side(call: Call, seconds: float) -> None:
    call.check(seconds)


@pytest.mark.parametrize("seconds", [-3600, -61, 61, 86_400])
def test_a_right_signature_of_another_time_has_expired(call: Call, seconds: float) -> None:
    assert call.refusal(seconds).ret_code == 1300


def test_the_lifetime_of_a_signature_can_be_set(call: Call) -> None:
    short = replace(call, options=SimulatorOptions(signature_ttl_s=5))

    short.check(5)
    assert short.refusal(6).ret_code == 1300


def test_a_wrong_signature_is_reported_before_an_expired_one(call: Call) -> None:
    assert replace(call, body=b"{}").refusal(3600).ret_code == 1200


@pytest.mark.parametrize(
    "text", ["yesterday", "2022-04-11 15:00:13", "2022-04-11T15:00:13", "2022-04-31T15:00:13Z"]
)
def test_a_timestamp_that_is_none_is_malformed_even_if_signed(call: Call, text: str) -> None:
    query = call.query.partition("&signature=")[0].replace("2022-04-11T15%3A00%3A13Z", quote(text, safe=""))

    assert sign(call, query).refusal().ret_code == 1100


def test_a_signature_must_be_encoded_as_often_as_expected(
    call: Call,
) -> None:
    unsigned, _, signature = call.query.partition("&signature=")
    once = replace(call, query=f"{unsigned}&signature={unquote(signature)}")
    private = SimulatorOptions(signature_encoded_twice=False)

    assert once.refusal().ret_code == 1200
    replace(once, options=private).check()
    assert replace(call, options=private).refusal().ret_code == 1200


def test_the_final_slash_of_the_signed_path_can_be_left_out(call: Call) -> None:
    private = replace(call, options=SimulatorOptions(signed_path_slash=False))
    unsigned = call.query.partition("&signature=")[0]

    assert private.refusal().ret_code == 1200
    sign(private, unsigned, path=call.path).check()
    assert replace(sign(private, unsigned, path=call.path), options=call.options).refusal().ret_code == 1200
