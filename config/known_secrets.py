"""Finding secrets whose values are known, in every form that text takes on its way into a log line."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, unquote

from config.secret_patterns import MASK

SHORTEST = 4
"""Shorter values stand everywhere by chance: they are masked only where they are the whole text."""

_BASE64_SHORTEST = 6
_LINE_SHORTEST = 12
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_MARGIN = " \t|+"
# Tracebacks of exception groups put a margin before each line of a message.
_ANY_MARGIN = r"(?:[ \t|+]|%(?:25)*+(?:20|09|7[cC]))*+"
_BACKSLASH = r"(?:\\|%(?:25)*+5[cC])"
_SHORT_ESCAPES = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\a": "a", "\v": "v", "\0": "0"}
_URL = re.compile(r"(?:rediss?|valkeys?|sentinel|unix|amqps?|https?)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KnownSecrets:
    """Secrets in the forms to search for. Made once at start, read by all threads, never changed."""

    values: frozenset[str] = frozenset()
    exact: frozenset[str] = frozenset()
    literals: tuple[str, ...] = ()
    encoded: tuple[str, ...] = ()
    loose: re.Pattern[str] | None = field(default=None, repr=False)
    broken_by_lines: bool = False

    def stands_in(self, text: str) -> bool:
        """Whether a form that needs no decoding stands in the text."""
        return any(literal in text for literal in self.literals)

    def hide(self, text: str) -> str:
        if text in self.exact:
            return MASK
        if "\\" in text or "%" in text or (self.broken_by_lines and not text.isprintable()):
            if self.loose is not None:
                text = self.loose.sub(MASK, text)
            for literal in self.encoded:
                if literal in text:
                    text = text.replace(literal, MASK)
        for literal in self.literals:
            if literal in text:
                text = text.replace(literal, MASK)
        return text


def known_secrets(values: Iterable[str]) -> KnownSecrets:
    """Prepare values for the search. Of a URL its passwords count: who may read logs may read host names."""
    kept = frozenset(values)
    needles: set[str] = set()
    exact: set[str] = set()
    for value in kept:
        for part in _secret_parts(value):
            (needles if len(part.strip()) >= SHORTEST or len(part) > SHORTEST + 1 else exact).add(part)
    forms = {form for needle in needles for form in (*_written_forms(needle), *_base64_forms(needle))}
    forms = {form for form in forms if len(form) >= SHORTEST}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    loose = [p for n in sorted(needles, key=lambda n: (-len(n), n)) if (p := _loose_pattern(n))]
    return KnownSecrets(
        values=kept,
        exact=frozenset(exact),
        literals=tuple(form for form in longest_first if "\\" not in form and "%" not in form)
        + tuple(sorted((n for n in needles if "\\" in n or "%" in n), key=len, reverse=True)),
        encoded=tuple(form for form in longest_first if "\\" in form or "%" in form),
        loose=re.compile("|".join(loose)) if loose else None,
        broken_by_lines=any(end in needle for needle in needles for end in _LINE_ENDS),
    )


def _secret_parts(value: str) -> Iterator[str]:
    """What of a registered value is to be found: itself, without blanks around it, its long lines."""
    if _URL.match(value):
        found = list(_url_passwords(value))
        if found or not _looks_random(value):
            for password in found:
                yield from _secret_parts(password)
            return
    # Blanks and the mask itself are no secrets, and masking them would never end.
    if not value.strip() or not value.strip("*"):
        return
    yield value
    if (stripped := value.strip()) != value:
        yield stripped
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= _LINE_SHORTEST)


def _looks_random(url: str) -> bool:
    # A secret that only begins like a URL has no host that a URL could have.
    return re.match(r"\w+://[\w.\[\]:,-]*(?:[/?#;]|\Z)", url) is None


def _url_passwords(value: str) -> Iterator[str]:
    for url in re.split(r"[;,](?=\w{1,20}://)", value):
        authority = url.partition("://")[2]
        userinfo, at, _host = authority.rpartition("@")
        password = userinfo.partition(":")[2] if at else ""
        inside = re.findall(r"[?&](?:password|token|secret)=([^&#]+)", authority)
        for found in (password, *inside):
            if found:
                yield found
                yield unquote(found)


def _written_forms(secret: str) -> set[str]:
    """The secret as encoders write it, alone and one upon the other."""
    escaped = {secret, _json(secret), _json(secret, ascii_only=False), _repr(secret), _bytes_repr(secret)}
    escaped |= {ascii(secret)[1:-1], html.escape(secret), html.escape(secret, quote=False)}
    twice = {form for once in escaped for form in (_json(once), _repr(once))}
    percent = {
        form
        for once in (secret, _json(secret))
        for form in (quote(once, safe=""), quote(once), quote_plus(once))
    }
    percent |= {quote(once, safe="") for once in percent}
    return escaped | twice | percent


def _base64_forms(secret: str) -> set[str]:
    """Base64 of the secret, alone or inside something longer, whatever stands before it."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {base64.b64encode(raw).decode().rstrip("=")}
    if len(raw) >= _BASE64_SHORTEST:
        for shift in range(3):
            text = base64.b64encode(b"\0" * shift + raw).decode()
            # Only signs that are made of nothing but the secret's own bits.
            forms.add(text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6])
    forms |= {form.replace("+", "-").replace("/", "_") for form in forms}
    forms |= {quote(form, safe="") for form in forms} | {
        quote(quote(form, safe=""), safe="") for form in forms
    }
    return forms


def _json(text: str, *, ascii_only: bool = True) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _repr(text: str) -> str:
    return repr(text)[1:-1]


def _bytes_repr(text: str) -> str:
    return repr(text.encode("utf-8", "surrogatepass"))[2:-1]


def _loose_pattern(secret: str) -> str | None:
    """A pattern for encodings that no encoder of ours writes: sign by sign, any mixture of any depth.

    Each sign is an atomic group, so that a search is linear; what is ambiguous because of that (a secret
    that itself looks encoded) is among the written forms.
    """
    units: list[str] = []
    position = 0
    while position < len(secret):
        start = position
        while position < len(secret) and secret[position] == "\\":
            position += 1
        backslashes = position - start
        if position == len(secret):
            units.append(_backslashes(backslashes, backslashes))
            break
        sign = secret[position]
        position += 1
        units.append(_loose_sign(sign, backslashes))
        if sign in _LINE_ENDS:
            units[-1] += _ANY_MARGIN
            while position < len(secret) and secret[position] in _MARGIN:
                position += 1
    # Too little is left of a secret that is mostly margin; its written forms are searched for all the same.
    return "".join(units) if len(units) >= SHORTEST else None


def _backslashes(least: int, own: int) -> str:
    # Bounded, or a run of backslashes would be walked through again from each of its places.
    return f"{_BACKSLASH}{{{least},{16 * own + 16}}}+"


def _loose_sign(sign: str, backslashes: int) -> str:
    code = ord(sign)
    utf8 = sign.encode("utf-8", "surrogatepass")
    names = [f"u{code:04x}"] if code <= 0xFFFF else [f"U{code:08x}"]
    if code <= 0xFF:
        names.append(f"x{code:02x}")
    escapes = [_any_case(name) for name in names]
    if sign in _SHORT_ESCAPES:
        escapes.append(_SHORT_ESCAPES[sign])
    if code > 0x7F:
        escapes.append(_backslashes(1, 0).join(_any_case(f"x{byte:02x}") for byte in utf8))
    if code > 0xFFFF:
        high, low = 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF)
        escapes.append(_any_case(f"u{high:04x}") + _backslashes(1, 0) + _any_case(f"u{low:04x}"))
    plain = [re.escape(sign)]
    if sign == "%":
        plain = [r"%(?:25)*+"]
    else:
        plain.append("".join(f"%(?:25)*+{_any_case(f'{byte:02x}')}" for byte in utf8))
    if sign == " ":
        plain.append(r"\+")
    before = _backslashes(backslashes, backslashes) if backslashes or sign in "\"'/" else ""
    escaped = f"{_backslashes(backslashes + 1, backslashes)}(?:{'|'.join(escapes)})"
    return f"(?>{escaped}|{before}(?:{'|'.join(plain)}))"


def _any_case(digits: str) -> str:
    """Hexadecimal digits in either case; a leading letter such as the u of an escape stays as it is."""
    head, tail = (digits[0], digits[1:]) if digits[0] in "uxU" else ("", digits)
    return head + "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in tail)
