"""Runs the `scaleout` command as a script would."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.json_shapes import check_shape
from tests.support.processes import ROOT


@dataclass(frozen=True)
class Done:
    """What a command has said, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON value that is on stdout; anything beside it is an error."""
        return json.loads(self.out)


def scaleout(env: Mapping[str, str], *arguments: str) -> Done:
    """With its output piped. No command may ever show a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli.main", *arguments],
        cwd=ROOT,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    if "--json" in arguments and done.stdout:
        check_shape(arguments, done.stdout)
    return Done(done.returncode, done.stdout, done.stderr)
