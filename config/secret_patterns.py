"""What a secret looks like when its value is not known: URL passwords, named values, headers, commands.

Everything here is linear in the text: loops are possessive or bounded, and each place of the text is looked
at a bounded number of times, so that a line of a megabyte is no way to stop a worker. Where a value's end
cannot be told, too much is hidden rather than too little.
"""

from __future__ import annotations

import re
from functools import lru_cache

MASK = "***"

# `secret_access_key_file=/run/secrets/key` says where a secret is, not what it is.
_KEY = r"""
    signature
    | (?:secret|passw(?:or)?d|passphrase|pwd)
        (?![\w-]{0,40}[_-](?:file|path|names?)(?![\w-]))[\w-]{0,40}
    | (?:access|api|private|signing|encryption|master|auth|account|shared)[_-]?key
    | (?:(?<![a-z])|access|auth|refresh|bearer|session|client|csrf|api)token
    | (?P<whole_line>authorization|(?:set-)?cookie)
    | credentials? | requirepass | masterauth
"""
_BLANKS = r"(?:[ \t+]|%(?:25){0,4}(?:20|09)){0,16}+"
_FLAGS = re.IGNORECASE | re.ASCII | re.VERBOSE
_NAMED = re.compile(
    rf"""(?:{_KEY})
    (?:
        (?:\\{{0,16}}+["']|%(?:25){{0,4}}2[27])?\]?
        {_BLANKS}
        (?P<sign>=>|[:=]|%(?:25){{0,4}}3[ad])
      | \\{{0,16}}+["'][ \t]{{0,16}}+(?P<pair>,)[ \t]{{0,16}}+(?=b?\\{{0,16}}["'])
    )
    {_BLANKS}""",
    _FLAGS,
)
_FLAG = re.compile(rf"(?<![\w-])--[\w-]{{0,40}}?(?:{_KEY})[ \t]{{1,16}}+(?=[^\s-])", _FLAGS)
_NAME_ENDS = re.compile(rf"(?:{_KEY})\Z", _FLAGS)
_NAME_TRIGGERS = ("signature", "secret", "pass", "pwd", "key", "token", "auth", "cookie", "credential")
# What any line must contain, in lower case, before it is worth a closer look.
TRIGGERS = (*_NAME_TRIGGERS, "//", "bearer", "basic")

_QUOTE = re.compile(r"[bru]{0,2}(\\{0,16})([\"'])", re.IGNORECASE)
_OPENING = re.compile(r"[\w.]{0,60}[\[({]")
_BRACKET = re.compile(r"[\[\](){}\"']")
_SIMPLE_QUOTED = {q: re.compile(rf"(?:[^\\{q}]++|\\.)*+", re.DOTALL) for q in "\"'"}
_ENCODED_VALUE = re.compile(r"(?:%(?!(?:25){0,4}26)|[^\s&\"'<>%])*+")
_BARE_VALUE = re.compile(r"(?:[^\s&\"'<>]|[\"'](?=\w))*+")
_LINE_REST = re.compile(r"[^\r\n]*+")

_SLASHES = re.compile(r"/\\{0,8}/|%(?P<level>(?:25){0,4})2[fF]%(?P=level)2[fF]")
_BLANK = re.compile(r"\s")
# After a URL's first @: the next URL of a list, or the quotation mark that ends a quoted URL.
_URL_ENDS = re.compile(r"[;,][A-Za-z][A-Za-z0-9+.-]{0,20}://|[\"'](?=[\s,)\]}:;]|\Z)")

_COMMAND = re.compile(
    r"(?:(?<![A-Za-z0-9_])|(?<=\\n))(?:AUTH2?|(?i:requirepass|masterauth))(?![A-Za-z0-9_])(?:\\{0,8}[\"'])?"
)
_BETWEEN = re.compile(r"(?:[\s,]|\\{1,8}[rnt](?![a-z])|\$\d{1,9}(?=\s|\\))++")
_ARGUMENT = re.compile(r"\S+?(?=\\{1,8}r\\{1,8}n|\s|\Z)")
_SCHEME = re.compile(r"\b(bearer|basic)([ \t]+)[A-Za-z0-9._~+/=-]{16,}+", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name (of a field, header, parameter, option) must not be shown."""
    return _is_secret_name(name) if len(name) < 200 else _NAME_ENDS.search(name) is not None


@lru_cache(maxsize=2048)
def _is_secret_name(name: str) -> bool:
    return _NAME_ENDS.search(name) is not None


def hide_patterns(text: str) -> str:
    """The text without URL passwords, values of secret names, credentials of headers and AUTH commands."""
    lower = text.lower()
    if "/" in text or "%" in text:
        text = _hide_url_passwords(text)
    if any(word in lower for word in _NAME_TRIGGERS):
        text = _hide_named(text)
        text = _hide_commands(text)
    if "bearer" in lower or "basic" in lower:
        text = _SCHEME.sub(rf"\1\2{MASK}", text)
    return text


def _hide_url_passwords(text: str) -> str:
    """`scheme://user:password@host` with the password masked; a password may hold any sign but a blank."""
    parts: list[str] = []
    done = position = run_end = 0
    while found := _SLASHES.search(text, position):
        start = found.end()
        if start >= run_end:
            blank = _BLANK.search(text, start)
            run_end = blank.start() if blank else len(text)
        if found[1] is None:
            colon, at = _plain_userinfo(text, start, run_end)
        else:
            colon, at = _encoded_userinfo(text, start, run_end, found[1])
        if at < 0:
            position = run_end
            continue
        if start <= colon < at:
            parts += (text[done:colon], MASK)
            done = at
        position = at + 1
    return "".join((*parts, text[done:])) if parts else text


def _plain_userinfo(text: str, start: int, run_end: int) -> tuple[int, int]:
    """Where the password starts and where its @ is; -1 for what is missing."""
    first = text.find("@", start, run_end)
    if first < 0:
        return -1, -1
    limit = _URL_ENDS.search(text, first, run_end)
    # The last @: an unencoded one may be part of the password.
    at = text.rfind("@", first, limit.start() if limit else run_end)
    colon = text.find(":", start, at)
    return (colon + 1 if 0 <= colon < at - 1 else -1), at


def _encoded_userinfo(text: str, start: int, run_end: int, level: str) -> tuple[int, int]:
    """The same inside a URL that is itself percent-encoded, once or more."""
    at = text.rfind(f"%{level}40", start, run_end)
    if at < 0:
        return -1, -1
    colon = re.compile(f"%{level}3[aA]").search(text, start, at)
    return (colon.end() if colon and colon.end() < at else -1), at


def _hide_named(text: str) -> str:
    text = _hide_after(_NAMED, text)
    return _hide_after(_FLAG, text) if "--" in text else text


def _hide_after(name: re.Pattern[str], text: str) -> str:
    """Mask the value that follows each match of a name."""
    parts: list[str] = []
    done = position = 0
    while found := name.search(text, position):
        groups = found.groupdict()
        start, end = _value_span(
            text,
            found.end(),
            encoded=(groups.get("sign") or "").startswith("%"),
            whole_line=groups.get("whole_line") is not None,
        )
        if end > start:
            parts += (text[done:start], MASK)
            done = end
        position = max(end, found.end())
    return "".join((*parts, text[done:])) if parts else text


def _value_span(text: str, start: int, *, encoded: bool, whole_line: bool) -> tuple[int, int]:
    if quote := _QUOTE.match(text, start):
        return quote.end(), _quoted_end(text, quote.end(), len(quote[1]), quote[2])
    if encoded:
        return start, _end(_ENCODED_VALUE, text, start)
    if whole_line:
        return start, _end(_LINE_REST, text, start)
    if opening := _OPENING.match(text, start):
        return start, _bracket_end(text, opening.end())
    if text.startswith("<", start):
        close = text.find(">", start)
        return start, close + 1 if close >= 0 else len(text)
    end = _end(_BARE_VALUE, text, start)
    while end > start and text[end - 1] in ",;)]}":
        end -= 1
    return start, end


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def _quoted_end(text: str, start: int, backslashes: int, quote: str) -> int:
    """Where a quoted value ends that was opened by so many backslashes and a quotation mark."""
    if not backslashes:
        return _end(_SIMPLE_QUOTED[quote], text, start)
    # JSON inside JSON: the closing mark has as many backslashes as the opening one, marks inside have more.
    position = start
    while (mark := text.find(quote, position)) >= 0:
        escape = mark
        while escape > start and mark - escape <= backslashes and text[escape - 1] == "\\":
            escape -= 1
        if mark - escape <= backslashes:
            return escape
        position = mark + 1
    return len(text)


def _bracket_end(text: str, position: int) -> int:
    """Behind the bracket that closes what was opened before `position`, or the end of the text."""
    depth = 1
    while found := _BRACKET.search(text, position):
        sign = found[0]
        position = found.end()
        if sign in "\"'":
            position = min(len(text), _quoted_end(text, position, 0, sign) + 1)
            continue
        depth += 1 if sign in "[({" else -1
        if not depth:
            return position
    return len(text)


def _hide_commands(text: str) -> str:
    """Redis' own words: `AUTH password`, `AUTH user password`, `CONFIG SET requirepass password`."""
    parts: list[str] = []
    done = position = 0
    while found := _COMMAND.search(text, position):
        position = found.end()
        for _argument in range(2):
            between = _BETWEEN.match(text, position)
            if not between:
                break
            start = end = between.end()
            if quote := _QUOTE.match(text, start):
                start, end = quote.end(), _quoted_end(text, quote.end(), len(quote[1]), quote[2])
                position = end + len(quote[1]) + 1
            elif argument := _ARGUMENT.match(text, start):
                position = end = argument.end()
            if end > start:
                parts += (text[done:start], MASK)
                done = end
    return "".join((*parts, text[done:])) if parts else text
