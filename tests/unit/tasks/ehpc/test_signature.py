"""The signature: the vendor's sample's own results, and what private deployments do otherwise."""

import base64
import hashlib
import hmac
import json
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tasks.ehpc.signature import (
    Credentials,
    SigningRules,
    canonical_query,
    encode,
    signed_query,
    string_to_sign,
    timestamp,
)

AT = datetime(2022, 4, 11, 15, 0, 13, tzinfo=UTC)
CREDENTIALS = Credentials("QYACCESSKEYIDEXAMPLE", SecretStr("SECRETACCESSKEY"))
RULES = SigningRules()


@dataclass(frozen=True)
class Vector:
    """One call of signature_vectors.json, with what the vendor's sample makes of it."""

    name: str
    method: str
    signed_uri: str
    access_key_id: str
    secret_access_key: str
    params: dict[str, str]
    body: str
    string_to_sign: str
    query: str

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.params["timestamp"])

    @property
    def own_params(self) -> dict[str, str]:
        return {name: value for name, value in self.params.items() if name != "timestamp"}

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.access_key_id, SecretStr(self.secret_access_key))

    @property
    def path(self) -> str:
        return self.signed_uri.removesuffix("/")


VECTORS = [
    Vector(**fields)
    for fields in json.loads(Path(__file__).with_name("signature_vectors.json").read_text(encoding="utf-8"))
]
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)


def signature_of(query: str) -> str:
    return query.rpartition("&signature=")[2]


@each_vector
def test_the_whole_query_is_what_the_vendors_sample_makes(vector: Vector) -> None:
    query = signed_query(
        vector.method,
        vector.path,
        vector.own_params,
        vector.body.encode(),
        vector.at,
        vector.credentials,
        RULES,
    )

    assert query == vector.query


@each_vector
def test_the_text_that_is_signed_is_what_the_vendors_sample_signs(vector: Vector) -> None:
    query = canonical_query(vector.own_params, vector.at, vector.credentials)

    text = string_to_sign(vector.method, vector.path, query, vector.body.encode(), RULES)

    assert text == vector.string_to_sign


def test_the_digest_of_a_call_without_a_body_is_of_no_bytes() -> None:
    text = string_to_sign("GET", "/api/operation", "a=b", b"", RULES)

    assert text.splitlines()[-1] == "d41d8cd98f00b204e9800998ecf8427e"


def test_the_digest_is_of_the_bytes_that_are_sent() -> None:
    spaced = string_to_sign("POST", "/p", "q", b'{"a": 1}', RULES)
    dense = string_to_sign("POST", "/p", "q", b'{"a":1}', RULES)

    assert spaced != dense


@pytest.mark.parametrize(
    ("path_slash", "path", "signed"),
    [
        (True, "/api/cluster/addNodes", "/api/cluster/addNodes/"),
        (True, "/api/cluster/addNodes/", "/api/cluster/addNodes/"),
        (False, "/api/cluster/addNodes", "/api/cluster/addNodes"),
        (False, "/api/cluster/addNodes/", "/api/cluster/addNodes/"),
    ],
)
def test_the_signed_path_ends_in_one_slash_unless_the_setting_says_otherwise(
    path_slash: bool, path: str, signed: str
) -> None:
    text = string_to_sign("GET", path, "q", b"", SigningRules(path_slash=path_slash))

    assert text.split("\n")[1] == signed


@pytest.mark.parametrize("path_slash", [True, False])
def test_the_signature_is_the_hmac_with_or_without_the_slash(path_slash: bool) -> None:
    rules = SigningRules(path_slash=path_slash)
    path = "/api/operation/" if path_slash else "/api/operation"
    query, _, signature = signed_query(
        "GET", "/api/operation", {"zone": "jn1a"}, b"", AT, CREDENTIALS, rules
    ).rpartition("&signature=")

    text = f"GET\n{path}\n{query}\nd41d8cd98f00b204e9800998ecf8427e"
    digest = hmac.new(b"SECRETACCESSKEY", text.encode(), hashlib.sha256).digest()
    assert unquote(unquote(signature)) == base64.b64encode(digest).decode()


def test_the_signature_is_encoded_twice_by_default_and_once_if_so_set() -> None:
    # A vector whose base64 has a plus, a slash and the final equals sign.
    vector = VECTORS[1]
    arguments = (
        vector.method,
        vector.path,
        vector.own_params,
        vector.body.encode(),
        vector.at,
        vector.credentials,
    )

    twice = signature_of(signed_query(*arguments, SigningRules(encoded_twice=True)))
    once = signature_of(signed_query(*arguments, SigningRules(encoded_twice=False)))

    assert "%252B" in twice
    assert "%252F" in twice
    assert twice.endswith("%253D")
    assert once == unquote(twice)
    assert "%2B" in once
    assert unquote(once) == "hI8RV7H/+hjBYk8D4VXQPbCVPEA2R6g5UyXSXAUpGN4="


def test_parameters_are_sorted_by_name_with_the_common_ones_among_them() -> None:
    query = canonical_query({"zone": "z", "a": "1", "limit": "100"}, AT, CREDENTIALS)

    names = [part.partition("=")[0] for part in query.split("&")]
    assert names == [
        "a",
        "access_key_id",
        "limit",
        "signature_method",
        "signature_version",
        "timestamp",
        "version",
        "zone",
    ]


def test_names_and_values_of_parameters_are_both_percent_encoded() -> None:
    query = canonical_query({"a b": "c&d=e/f+g"}, AT, CREDENTIALS)

    assert query.startswith("a%20b=c%26d%3De%2Ff%2Bg&access_key_id=")


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        (" ", "%20"),
        ("+", "%2B"),
        ("/", "%2F"),
        ("=", "%3D"),
        ("*", "%2A"),
        ("%", "%25"),
        ("-_.~", "-_.~"),
        ("节点", "%E8%8A%82%E7%82%B9"),
        ("", ""),
    ],
)
def test_a_space_is_percent_20_and_hex_is_upper_case(text: str, encoded: str) -> None:
    assert encode(text) == encoded


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_encoded_text_has_only_unreserved_signs_and_can_be_read_back(text: str) -> None:
    encoded = encode(text)

    assert set(encoded) <= set(string.ascii_letters + string.digits + "-_.~%")
    assert unquote(encoded) == text


def test_a_timestamp_is_in_utc_and_in_whole_seconds() -> None:
    beijing = timezone(timedelta(hours=8))

    assert timestamp(datetime(2022, 4, 6, 9, 26, 33, 999_999, tzinfo=beijing)) == "2022-04-06T01:26:33Z"


def test_a_time_without_a_zone_is_not_signed() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        timestamp(datetime(2022, 4, 6, 1, 26, 33))  # noqa: DTZ001


def test_a_call_is_signed_with_exactly_the_time_that_is_handed_in() -> None:
    query = signed_query("GET", "/p", {}, b"", AT, CREDENTIALS, RULES)

    assert "&timestamp=2022-04-11T15%3A00%3A13Z&" in query


@given(
    zone=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    body=st.binary(max_size=50),
    seconds=st.integers(0, 4_000_000_000),
)
def test_the_query_fits_a_url_and_the_signature_decodes_in_two_steps(
    zone: str, body: bytes, seconds: int
) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    query = signed_query("POST", "/p", {"zone": zone}, body, at, CREDENTIALS, RULES)

    assert set(query) <= set(string.ascii_letters + string.digits + "-_.~%&=")
    assert query.count("&signature=") == 1
    assert len(base64.b64decode(unquote(unquote(signature_of(query))), validate=True)) == 32


def test_the_secret_key_is_not_shown_by_the_credentials() -> None:
    assert "SECRETACCESSKEY" not in repr(CREDENTIALS)
    assert "SECRETACCESSKEY" not in str(CREDENTIALS)
