"""The provider's side of the signature, from the vendor's page alone; shares nothing with the client."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import unquote

from workers.simulator.options import SimulatorOptions


class Refused(Exception):  # noqa: N818 - named by what the provider does
    """An answer with a ret_code other than 0 (EHPC API, page "Error codes")."""

    def __init__(self, ret_code: int, message: str) -> None:
        self.ret_code = ret_code
        self.message = message
        super().__init__(f"{ret_code} {message}")


def check_signature(
    options: SimulatorOptions, method: str, path: str, raw_query: str, body: bytes, now: float
) -> None:
    """Raises Refused: 1200 for a wrong key or signature, 1300 for one signed too long ago."""
    pairs = [pair.partition("=")[::2] for pair in raw_query.split("&")]
    values = {unquote(name): value for name, value in pairs}
    given = values.pop("signature", "")
    for name in ("zone", "access_key_id", "version", "signature_method", "signature_version", "timestamp"):
        if not values.get(name):
            raise Refused(1100, f"missing parameter [{name}]")
    if unquote(values["access_key_id"]) != options.access_key_id:
        raise Refused(1200, "AuthFailure, access key does not exist")
    signed_path = path.rstrip("/") + "/" if options.signed_path_slash else path
    query = "&".join(f"{name}={value}" for name, value in sorted(pairs) if name != "signature")
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    text = f"{method}\n{signed_path}\n{query}\n{digest}"
    made = hmac.new(options.secret_access_key.encode(), text.encode(), hashlib.sha256).digest()
    once = unquote(given)
    decoded = unquote(once) if options.signature_encoded_twice else once
    unencoded = options.signature_encoded_twice and once == decoded and any(c in once for c in "+/=")
    if unencoded or not hmac.compare_digest(decoded.encode(), base64.b64encode(made)):
        raise Refused(1200, "AuthFailure, signature not matched")
    _check_age(options, unquote(values["timestamp"]), now)


def _check_age(options: SimulatorOptions, timestamp: str, now: float) -> None:
    try:
        signed_at = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Refused(1100, f"invalid timestamp [{timestamp}]") from None
    if abs(now - signed_at) > options.signature_ttl_s:
        raise Refused(1300, "ExpiredSignature, the request has expired")
