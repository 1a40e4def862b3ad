"""Runs the `scaleout` command on a terminal of its own."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping

from tests.support.processes import ROOT

ROWS = 24
END_WITHIN_S = 60


def on_a_terminal(env: Mapping[str, str], *arguments: str, columns: int | None = None) -> tuple[int, str]:
    """Return the exit code, and what the command writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    if columns is not None:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    command = [sys.executable, "-m", "workers.cli.main", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=dict(env), stdin=theirs, stdout=theirs) as started:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65_536):
                shown += chunk
        except OSError:
            pass  # how Linux tells that the other side is closed
        finally:
            os.close(ours)
        return started.wait(END_WITHIN_S), shown.decode()
