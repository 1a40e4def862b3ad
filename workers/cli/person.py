"""Who is at the terminal, and whether that person agrees."""

from __future__ import annotations

import getpass
import sys
from contextlib import suppress

from workers.cli.terminal import say


def name_of_user() -> str:
    """For the history."""
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return "unknown"


def confirm(question: str) -> bool:
    """No, if nobody is there to answer."""
    if not sys.stdin.isatty():
        say("scaleout: nobody is there to confirm it: give --yes")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
