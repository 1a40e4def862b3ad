"""Hide secrets in text: registered values, passwords in URLs, and values under the names of secrets."""

import base64
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
SHORTEST = 4  # Shorter values occur everywhere by chance: they are hidden only where they are the whole text.

# `secret_access_key_file` says where a secret is, not what it is.
_NAME = r"""(?:signature | secret(?:[_-]?\w{0,20}[_-]?key)? | passw(?:or)?d | passphrase | pwd | credentials?
    | (?:access|api|private|signing|encryption|master|auth|account|shared)[_-]?key | token
    | authorization | (?:set-)?cookie | requirepass | masterauth)"""
_FLAGS = re.IGNORECASE | re.ASCII | re.VERBOSE
_NAME_ENDS = re.compile(rf"{_NAME}\Z", _FLAGS)
_QUOTE = r"\\{0,16}[\"']"
# Bounded everywhere, so that a search is linear in the length of the text.
_NAMED = re.compile(
    rf"""({_NAME}(?:{_QUOTE})?\]?(?:\s|%20){{0,8}}(?:=>|[:=]|%(?:25){{0,4}}3[dD])(?:\s|%20){{0,8}}
        (?:(?:bearer|basic)\s+)?)
    (?:b?({_QUOTE})(?:(?!\2).){{0,4096}}+ | b?[^\s&"'<>,;)}}\]\\]{{1,4096}}+)""",
    _FLAGS | re.DOTALL,
)
_USERINFO = re.compile(r"(:(?:\\{0,8}/){2}[^\s:/@\"']{0,256}:)[^\s\"'<>]{1,512}(@)")
_TRIGGERS = ("signature", "secret", "pass", "pwd", "key", "token", "auth", "cookie", "credential")

_forms: tuple[str, ...] = ()
_exact: frozenset[str] = frozenset()


def register_secrets(values: Iterable[str]) -> None:
    """Hide these values from now on, beside those already registered; of a URL its password."""
    global _forms, _exact
    forms, exact = set(_forms), set(_exact)
    for secret in {part for value in values for part in _secrets_of(value)}:
        exact.add(secret)
        if len(secret) >= SHORTEST:
            forms |= {form for form in _written(secret) if len(form) >= SHORTEST}
    _exact, _forms = frozenset(exact), tuple(sorted(forms, key=lambda form: (-len(form), form)))


def redact(text: str) -> str:
    """Return the text with every secret in it replaced by `***`."""
    if text in _exact:
        return MASK
    for form in _forms:
        if form in text:
            text = text.replace(form, MASK)
    if "@" in text and "//" in text.replace("\\", ""):
        text = _USERINFO.sub(rf"\1{MASK}\2", text)
    if any(word in text.lower() for word in _TRIGGERS):
        text = _NAMED.sub(lambda found: f"{found[1]}{found[2] or ''}{MASK}", text)
    return text


def may_hold_secret(line: str) -> bool:
    """Return whether a rendered line deserves `redact`: quick, and wrong only in saying yes."""
    lower = line.lower()
    return (
        any(form in line for form in _forms)
        or any(word in lower for word in _TRIGGERS)
        or ("@" in line and "//" in line.replace("\\", ""))
        or any(len(secret) < SHORTEST for secret in _exact)
    )


@lru_cache(maxsize=2048)
def is_secret_name(name: str) -> bool:
    """Return whether a value under this name (of a field, header, option) must not be shown."""
    return _NAME_ENDS.search(name) is not None


def _secrets_of(value: str) -> set[str]:
    found = {value, value.strip()}
    if re.match(r"\w{1,20}://", value):
        userinfo, at, _ = value.partition("://")[2].rpartition("@")
        inside = re.findall(r"[?&](?:password|token|secret)=([^&#]+)", value)
        passwords = {userinfo.partition(":")[2] if at else "", *inside}
        found = passwords | {unquote(password) for password in passwords}
    # Blanks and the mask itself are no secrets, and masking them would never end.
    return {secret for secret in found if secret.strip("* \t\r\n")}


def _written(secret: str) -> set[str]:
    """Return the secret as JSON, repr, URLs and base64 have it, the last at any place in a longer text."""
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {repr(secret)[1:-1], quote(secret), quote(secret, safe=""), quote_plus(secret)}
    forms |= {quote(quote(secret, safe=""), safe=""), quote(secret, safe="!$&'()*+,;=")}
    raw = secret.encode("utf-8", "surrogatepass")
    for shift in range(3):
        # Only the characters that are made of nothing but the secret's own bits.
        text = base64.b64encode(b"\0" * shift + raw).decode()
        part = text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
        forms |= {part, part.replace("+", "-").replace("/", "_")} if len(part) >= 2 * SHORTEST else set()
    return forms
