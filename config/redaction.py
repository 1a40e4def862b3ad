"""The last line of defence against secrets in text: log lines, outcomes, error messages.

It looks at finished text, whatever it was made from. Secrets whose values are known (`register_secrets`) are
found in every usual encoding; others by the places where secrets stand (`config.secret_patterns`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from config.known_secrets import KnownSecrets, known_secrets
from config.secret_patterns import MASK, TRIGGERS, hide_patterns, is_secret_name

__all__ = ["MASK", "is_secret_name", "may_hold_secret", "redact", "register_secrets", "stands_in"]

_registering = threading.Lock()
_known = KnownSecrets()


def register_secrets(values: Iterable[str]) -> None:
    """Hide these values from now on, in this process, in addition to those already registered.

    Shape: each value is one secret, or a URL, of which the passwords are the secret. Empty values and blanks
    are ignored; values under four characters are hidden only where they are the whole text.
    Source: `LedgerSettings.secrets()`, at start.
    """
    global _known
    with _registering:
        # Readers take no lock: they see the whole old object or the whole new one.
        _known = known_secrets(_known.values.union(values))


def redact(text: str) -> str:
    """The text with every secret in it replaced by `***`; names, users and hosts around it are kept.

    Safe to call from any thread; linear in the length of the text; redacting twice changes nothing more.
    """
    return hide_patterns(_known.hide(text))


def stands_in(text: str) -> bool:
    """Whether a registered secret stands in the text as it is, without any decoding."""
    return _known.stands_in(text)


def may_hold_secret(line: str) -> bool:
    """Whether a rendered line deserves `redact`: quick, never wrongly false for JSON in ASCII."""
    # A backslash or a percent sign may hide any sign behind it.
    if "\\" in line or "%" in line or _known.stands_in(line):
        return True
    lower = line.lower()
    return any(word in lower for word in TRIGGERS)
