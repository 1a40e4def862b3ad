"""Processes that a command turns into."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from config.settings import Settings, load

WORKER = ("-m", "celery", "-A", "workers", "worker")


def become_worker(arguments: Sequence[str]) -> None:
    """Replace this process by the worker, so that signals and the exit code are the worker's own.

    Raises SettingsError.
    """
    load(Settings)
    os.execv(sys.executable, [sys.executable, *WORKER, *arguments])  # noqa: S606 - our own interpreter
