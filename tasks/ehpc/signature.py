"""PURE: the signature of the EHPC API (page "Signature"), version 1, HmacSHA256."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from pydantic import SecretStr

UNRESERVED = "-_.~"
MAX_SKEW_S = 5.0  # between the provider's clock and ours; a signature is at most so much younger than it says


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str
    secret_access_key: SecretStr


@dataclass(frozen=True, slots=True)
class SigningRules:
    """Private deployments differ in these from what the vendor's page says, which is the default."""

    path_slash: bool = True
    encoded_twice: bool = True


@lru_cache(maxsize=1024)
def encode(text: str) -> str:
    """Percent-encode as the page requires: space as %20, upper-case hex."""
    return quote(text, safe=UNRESERVED)


def timestamp(at: datetime) -> str:
    """Return `at` as the API takes it: UTC, whole seconds. Raises ValueError without a time zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone: a signature needs a time in UTC")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical_query(params: Mapping[str, str], at: datetime, credentials: Credentials) -> str:
    """Return the sorted query with the common parameters, without the signature."""
    common = {
        "access_key_id": credentials.access_key_id,
        "signature_method": "HmacSHA256",
        "signature_version": "1",
        "timestamp": timestamp(at),
        "version": "1",
    }
    return "&".join(f"{encode(k)}={encode(v)}" for k, v in sorted({**params, **common}.items()))


def string_to_sign(method: str, path: str, query: str, body: bytes, rules: SigningRules) -> str:
    """Return the text that is signed; `path` is the path of the request's URL."""
    signed_path = path.rstrip("/") + "/" if rules.path_slash else path
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return f"{method}\n{signed_path}\n{query}\n{digest}"


def signed_query(
    method: str,
    path: str,
    params: Mapping[str, str],
    body: bytes,
    at: datetime,
    credentials: Credentials,
    rules: SigningRules,
) -> str:
    """Return the whole query of a signed call, ready for a URL.

    `params` are those of the action, with its zone; `at` is the time that is signed.
    """
    query = canonical_query(params, at, credentials)
    text = string_to_sign(method, path, query, body, rules)
    key = credentials.secret_access_key.get_secret_value().encode()
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    signature = encode(base64.b64encode(digest).decode())
    return f"{query}&signature={encode(signature) if rules.encoded_twice else signature}"
