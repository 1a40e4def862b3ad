"""Checks of single fields that are more than a pattern. Each raises ValueError with every problem."""

import ipaddress
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

MAX_RESOURCE_CONF_CHARS = 4_096
MAX_RESOURCE_CONF_DEPTH = 16
SHOWN_ADDRESSES = 5


def check_addresses(texts: Sequence[str]) -> None:
    """Require IP addresses without a scope, none of them twice in any spelling."""
    problems, wrong, seen = [], [], set()
    twice = False
    for text in texts:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            wrong.append(text)
            continue
        if "%" in text:
            wrong.append(text)
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        twice = twice or address in seen
        seen.add(address)
    if wrong:
        shown = ", ".join(repr(text[:64]) for text in wrong[:SHOWN_ADDRESSES])
        more = f" and {len(wrong) - SHOWN_ADDRESSES} more" if len(wrong) > SHOWN_ADDRESSES else ""
        problems.append(f"not addresses: {shown}{more}")
    if twice:
        problems.append("names an address twice")
    if problems:
        raise ValueError(", and ".join(problems))


def check_time(text: str) -> str:
    """Require a time with its distance from UTC; return it in UTC, as one spelling."""
    try:
        at = datetime.fromisoformat(text)
        # The first and the last day of the calendar have no time in UTC everywhere.
        in_utc = None if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        in_utc = None
    if in_utc is None:
        raise ValueError("must be a time such as 2026-12-01T20:00:00Z")
    return in_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_plain_json(value: dict[str, Any]) -> None:
    """Require JSON that is small, not deeply nested, and of valid Unicode without NUL."""
    _check_depth(value, MAX_RESOURCE_CONF_DEPTH)
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("contains an unpaired surrogate (invalid Unicode)") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("must be an object of plain JSON values") from error
    if len(text) > MAX_RESOURCE_CONF_CHARS:
        raise ValueError(f"is {len(text)} characters of JSON, {MAX_RESOURCE_CONF_CHARS} are allowed")


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, str) and "\0" in value:
        raise ValueError("must have no NUL characters")
    if not isinstance(value, (dict, list, tuple)):
        return
    if left == 0:
        raise ValueError(f"is nested more than {MAX_RESOURCE_CONF_DEPTH} deep")
    for part in (*value, *value.values()) if isinstance(value, dict) else value:
        _check_depth(part, left - 1)
