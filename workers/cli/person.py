"""Who is at the terminal, for the history."""

from __future__ import annotations

import getpass
from contextlib import suppress


def name_of_user() -> str:
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return "unknown"
